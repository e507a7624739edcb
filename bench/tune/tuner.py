"""Runs a tuning: the search, then the final, each in processes of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.analysis.settle import Board, Round
from bench.devices import DEVICES
from bench.harness import remeasure, settling
from bench.harness.plan import Plan
from bench.harness.scheduler import profiler
from bench.harness.scheduler.listener import Listener
from bench.harness.scheduler.runner import new_run_id
from bench.models.naming import selector
from bench.records import Case, Environment, Failure, Measurement, Peaks, Source, of_cases
from bench.storage.results import Store
from bench.text import duration, significant
from bench.tune import final
from bench.tune.ranking import latencies
from bench.tune.result import board_of, failures_in
from bench.tune.search import Search
from bench.tune.space import WAVES
from bench.tune.tuning import Tuning, save

SEARCH_SHARE = 0.6  # of the time; the rest is for the final
FINAL_ROUNDS = 6  # of all cases, for an interval of the gain; then of what is not yet decided


class Place(NamedTuple):
    """Where a tuning measures: the plan of a round, the open store, the environment, sources."""

    plan: Plan
    store: Store
    environment: Environment
    sources: dict[str, Source]

    @property
    def folder(self) -> Path:
        """The folder of the device."""
        return self.store.path.parent


class Tuner(Listener):
    """Continues a tuning for the rest of `for_s` seconds. `check` raises where the user stops it.

    `tell` takes lines for the user.
    """

    def __init__(
        self,
        tuning: Tuning,
        place: Place,
        for_s: float,
        margin: float,
        tell: Callable[[str], object],
        check: Callable[[], object],
    ) -> None:
        self._tuning = tuning
        self._place = place
        self._for_s = for_s
        self._margin = margin
        self._tell = tell
        self._check = check
        self._began_s = time.monotonic() - tuning.spent_s
        self._records = list(of_cases(place.store.records))
        self._told: Sequence[Case] = []

    @property
    def left_s(self) -> float:
        """The seconds that are left."""
        return self._for_s - (time.monotonic() - self._began_s)

    def records(self, runs: Sequence[str]) -> list[Measurement | Failure]:
        """The records of some runs: of the search, or of the final."""
        return [each for each in self._records if each.run_id in runs]

    def run(self) -> tuple[Tuning, Board]:
        """Search unless that is done, then hold the final; return all that it has found."""
        if not self._tuning.finalists:
            self._search()
        board = self._final()
        return self._tuning, board

    def board(self) -> Board:
        """What the final has answered so far."""
        known = [*self._place.store.environments(), *self._records]
        return board_of(self._tuning, known, self._place.environment, self._margin)

    def peaks(self, threads: int) -> Peaks | None:
        """The peak rates of the device in fp32, measured once; None where unknown."""
        plain = self._tuning.space.forms[0]
        if not DEVICES[plain.device].runs_torch:
            return None
        one = msgspec.structs.replace(plain, threads=threads, batch=1)
        _, store, environment, sources = self._place
        return profiler.peaks(one, store, environment, sources)

    def _search(self) -> None:
        environment = self._begin("search_runs")
        search = Search(
            lambda: self.records(self._tuning.search_runs),
            self._measuring(environment),
            self._keep,
            self._began_s + SEARCH_SHARE * self._for_s,
        )
        search.run(self._tuning)

    def _final(self) -> Board:
        board, cases = self.board(), final.cases(self._tuning)
        rounds = Counter(each.case for each in self.records(self._tuning.final_runs))
        lacking = FINAL_ROUNDS - min((rounds[case] for case in cases), default=0)
        is_answered = bool(board.answers) and not board.open and lacking <= 0
        if len(cases) < 2 or self.left_s <= 0 or is_answered:
            return board
        measure = self._measuring(self._begin("final_runs"))
        if lacking > 0:
            self._tell(f"final, in new processes: {', '.join(map(selector, cases))}")
            self._told = cases
        while lacking > 0 and self.left_s > 0 and len(cases) > 1:
            measure(cases)
            failed = failures_in(self.records(self._tuning.final_runs))
            cases = [case for case in cases if case not in failed]
            lacking -= 1
        board = settling.settle(self.board, measure, self.left_s, self._tell_round)
        self._keep(self._tuning)
        return board

    def _begin(self, runs: str) -> Environment:
        """Note the run id of a new part of the search or the final; return its environment."""
        run_id = new_run_id()
        known = getattr(self._tuning, runs)
        self._tuning = msgspec.structs.replace(self._tuning, **{runs: (*known, run_id)})
        self._keep(self._tuning)
        return msgspec.structs.replace(self._place.environment, run_id=run_id)

    def _measuring(self, environment: Environment) -> Callable[[Sequence[Case]], list[Case]]:
        plan, store, _, sources = self._place
        return remeasure.one_by_one(plan, store, environment, self, sources)

    def _keep(self, tuning: Tuning) -> None:
        """Write the tuning, and say what a step of the search has found."""
        before = self._tuning
        self._tuning = msgspec.structs.replace(tuning, spent_s=time.monotonic() - self._began_s)
        save(self._tuning, self._place.folder)
        tried = len(tuning.known) - len(before.known)
        if tuning.waves > before.waves and tried:
            self._tell(f"{WAVES[before.waves].varies}: {tried} tried{self._fastest()}")
        elif tuning.rungs > before.rungs:
            self._tell(f"{len(before.alive)} candidates again{self._fastest()}")

    def _fastest(self) -> str:
        records = self.records(self._tuning.search_runs)
        seconds = latencies([each for each in records if isinstance(each, Measurement)])
        alive = [case for case in seconds if case in self._tuning.alive]
        if not alive:
            return ""
        fastest = min(alive, key=seconds.__getitem__)
        shown = f"{selector(fastest)}, {significant(1e3 * seconds[fastest])} ms"
        return f"; in the race {len(self._tuning.alive)}, the fastest so far: {shown}"

    def _tell_round(self, board: Board, chosen: Round, left_s: float) -> None:
        """Say which cases have further rounds, where they are not those of the round before."""
        if chosen.cases != self._told:
            names = ", ".join(map(selector, chosen.cases))
            self._tell(f"final: {names}; it ends in {duration(left_s)} at the latest")
        self._told = chosen.cases

    # --- the events of Listener ---

    def sampled(
        self, case: Case, earlier: Sequence[Sequence[float]], samples: Sequence[float]
    ) -> None:
        """Let Ctrl-C end the tuning."""
        self._check()

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """Keep the round, and the seconds so far."""
        self._records.append(rounds[-1])
        self._keep(self._tuning)

    def failed(self, record: Failure) -> None:
        """Keep the failure, and say it."""
        self._records.append(record)
        self._tell(f"refused: {selector(record.case)}: {record.stage}: {record.message}")

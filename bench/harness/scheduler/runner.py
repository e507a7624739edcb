"""The parent: schedules rounds and turns, and puts what comes of them on record.

A round is one template process, and one child of it per case. Children take turns in short
blocks, in an order that is shuffled (seeded) for each round and reverses each turn, so that a
drift of the machine hits all alike. While a child is timing, the parent sleeps in a system call.
"""

from __future__ import annotations

import itertools
import random
import re
import resource
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from bench.analysis.verdict import of_clocks
from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness.plan import Plan, is_done, stopped_by
from bench.harness.protocol.messages import Job, Known, Observed
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.template import Template
from bench.harness.scheduler.turn import Turn
from bench.records import OUT_OF_MEMORY, Case, Conditions, Environment, Failure, Measurement, Source
from bench.storage.results import History, Store

DEATHS_TOLERATED = 3
KEPT_FREE_FILES = 48  # for the store, the terminal, the template and what a library opens
KEPT_FREE_BYTES = 2**29  # for the parent, the template and everybody else
# Absolute or beginning with ~ or dots; ends at white space, a quote or a colon.
OUTSIDE_PATH = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)/?")


class Listener(Protocol):
    """Who wants to know how a run goes. Called between blocks only, never inside one."""

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """The run begins: what there is to measure, and what is on record already."""

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case is ready to be timed; about how long an iteration takes."""

    def sampled(self, case: Case, earlier: Sequence[float], samples: Sequence[float]) -> None:
        """A block was timed: samples of earlier rounds, and those of this one so far."""

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A round of a case is on record; all of its rounds so far."""

    def failed(self, record: Failure) -> None:
        """A failure is on record."""


def run(
    cases: Sequence[Case],
    plan: Plan,
    store: Store,
    environment: Environment,
    listener: Listener,
    *,
    retry_failed: bool = False,
    sources: Mapping[str, Source] | None = None,
) -> list[Failure]:
    """Measure what `store` lacks of `cases`; returns the failures of this run's cases, old or new.

    Groups run one after another, smallest batch first as `cases` come. `sources` says where
    models are found that are not in the zoo, by the name that their cases have.
    """
    runner = _Runner(plan, store, environment, listener, retry_failed, sources or {})
    todo = [case for case in cases if runner.pending(case)]
    listener.started(todo, [case for case in cases if case not in todo])
    if todo:
        store.append(environment)
    for _, group in itertools.groupby(todo, key=lambda case: case.group):
        runner.run_group(list(group))
    histories = [store.history(case, environment.environment_id) for case in cases]
    return [history.failure for history in histories if history.failure]


def new_run_id() -> str:
    """An id that no other run has."""
    return secrets.token_hex(6)


class Deaths:
    """Of templates that were killed: how many came with nothing finished in between."""

    def __init__(self) -> None:
        self._count = 0
        self._finished: object = None

    def one_more(self, finished: object) -> None:
        """Another one; `finished` says how far the work is. Raises UsageError at the third."""
        self._count = self._count + 1 if finished == self._finished else 1
        self._finished = finished
        if self._count == DEATHS_TOLERATED:
            raise UsageError(
                f"the measuring processes were killed {self._count} times",
                "Look for what kills them (`dmesg` names the out-of-memory killer); "
                "finished rounds are on record, and the same command goes on.",
            ) from None


class _Runner:
    """The state of one run."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        environment: Environment,
        listener: Listener,
        retry_failed: bool,
        sources: Mapping[str, Source],
    ) -> None:
        self._device = DEVICES[environment.chip.device]
        self._foreign: int | None = None
        self._plan = plan
        self._store = store
        self._environment = environment
        self._listener = listener
        self._retry = retry_failed
        self._sources = sources
        self._failed_now: set[Case] = set()
        self._sittings = 0
        self._recorded = 0  # rounds and failures

    def pending(self, case: Case) -> bool:
        """Whether the case needs a round."""
        rounds, failure = self._history(case)
        if failure is not None and (not self._retry or case in self._failed_now):
            return False
        return not is_done(self._plan, rounds)

    def run_group(self, cases: list[Case]) -> None:
        """Round after round, until no case of the group needs one.

        A round whose template is killed is begun anew; what it had finished is on record.
        """
        deaths = Deaths()
        while waiting := [case for case in cases if self.pending(case)]:
            try:
                self._run_round(waiting)
            except TemplateDiedError:
                deaths.one_more(self._recorded)

    def _run_round(self, cases: list[Case]) -> None:
        """One process of each case; where memory holds only some at a time, wave after wave."""
        waiting = self._shuffled(cases)
        self._foreign = self._device.foreign_processes()
        began = time.monotonic()
        with Template(cases[0].device) as template:
            share_s = (time.monotonic() - began) / len(cases)
            warnings: list[str] = []
            while waiting:
                turns = self._prepare(template, waiting)
                if waiting:
                    held = f"there was room for {len(turns)} of {len(cases)} cases at once"
                    warnings = [f"{held}: the others did not take turns with them"]
                self._sittings += 1
                self._alternate(turns)
                for turn in turns:
                    self._finish(turn, share_s, warnings)

    def _shuffled(self, cases: Sequence[Case]) -> list[Case]:
        """The round's order, which is that of its waves too: another each round, always the same.

        The first round keeps the order of the suite: whoever watches sees its rows come in it.
        """
        number = max(len(self._history(case).rounds) for case in cases)
        order = list(cases)
        if number:
            random.Random(f"{cases[0].group} {number}").shuffle(order)
        return order

    def _prepare(self, template: Template, waiting: list[Case]) -> list[Turn]:
        """Take cases from `waiting` and make a child of each ready, as long as memory allows."""
        turns: list[Turn] = []
        peaks: list[int | None] = []
        most = most_at_once()
        while waiting and len(turns) < most and has_room(self._device.free_bytes(), peaks):
            case = waiting.pop(0)
            rounds, _ = self._history(case)
            earlier = [sample for record in rounds for sample in record.samples_s]
            source = self._sources.get(case.model)
            number = max((record.round for record in rounds), default=0) + 1
            job = Job(case, number, self._plan, _known(rounds), source)
            try:
                turn = Turn(job, template.fork(job), earlier)
                turn.await_ready()
                self._listener.warmed(case, turn.iteration_s)
            except CaseError as error:
                if is_short_of_memory(error) and turns:
                    waiting.insert(0, case)  # perhaps it fits alone: it begins the next wave
                    break
                self._record_failure(case, job.round, error)
            else:
                turns.append(turn)
                peaks.append(turn.peak_bytes)
        return turns

    def _alternate(self, turns: list[Turn]) -> None:
        """Let children take turns until each has what the plan asks for; drops those that fail."""
        active = list(turns)
        while active:
            for turn in list(active):
                try:
                    turn.time_block()
                except CaseError as error:
                    turns.remove(turn)
                    active.remove(turn)
                    self._record_failure(turn.case, turn.job.round, error)
                else:
                    self._listener.sampled(turn.case, turn.earlier, turn.samples)
            active = [turn for turn in reversed(active) if not turn.is_satisfied()]

    def _finish(self, turn: Turn, share_s: float, warnings: Sequence[str]) -> None:
        earlier = self._history(turn.case).rounds
        try:
            finished = turn.finish()
        except CaseError as error:
            self._record_failure(turn.case, turn.job.round, error)
            return
        observed, warned = self._observe(turn, earlier)
        stages = msgspec.structs.replace(finished.stages, observe=observed.seconds)
        conditions = self._as_declared(finished.conditions)
        jumped = [reason.seen for reason in of_clocks(conditions)]
        record = Measurement(
            run_id=self._environment.run_id,
            case_id=turn.case.case_id,
            case=turn.case,
            environment_id=self._environment.environment_id,
            round=turn.job.round,
            samples_s=turn.samples,
            block_sizes=[len(block.samples_s) for block in turn.blocks],
            block_starts_s=[block.start_s for block in turn.blocks],
            stages_s=stages,
            cost=finished.known.cost,
            stopped_by="round",
            discarded=finished.discarded,
            share_s=share_s,
            structure=finished.known.structure,
            check=finished.known.check,
            preset=self._plan.preset,
            passport=finished.known.passport,
            warnings=[*self._warnings(turn.case), *warnings, *jumped, *warned],
            block_compute_s=[block.compute_s for block in turn.blocks],
            block_memory_s=[block.memory_s for block in turn.blocks],
            conditions=conditions,
            steady=finished.steady,
            sitting=self._sittings,
            device_samples_s=[s for block in turn.blocks for s in block.device_samples_s],
            block_pipelined_s=[b.pipelined_s for b in turn.blocks if b.pipelined_s is not None],
            settings=finished.settings,
            telemetry=observed.telemetry,
        )
        rounds = [*earlier, record]
        rounds[-1] = msgspec.structs.replace(record, stopped_by=stopped_by(self._plan, rounds))
        self._append(rounds[-1])
        self._listener.measured(turn.case, rounds)

    def _observe(self, turn: Turn, earlier: Sequence[Measurement]) -> tuple[Observed, list[str]]:
        """Have the chip observed once a case; where that fails, the blocks are worth no less."""
        nothing = Observed(None, 0.0)
        try:
            wanted = self._plan.observe_s and not any(record.telemetry for record in earlier)
            observed = turn.observe(self._plan.observe_s) if wanted else nothing
            turn.end()
        except CaseError as error:
            what = without_paths(f"{error.error}: {error.message}")
            return nothing, [f"the chip could not be observed: {what}"]
        return observed, []

    def _as_declared(self, conditions: Conditions) -> Conditions:
        """With what the parent knows: others on the chip, and the mode that this run is of."""
        declared = self._environment.chip.facts.get("power_mode")
        modes = conditions.power_modes
        if declared is not None and modes:
            modes = list(dict.fromkeys([str(declared), *modes]))
        return msgspec.structs.replace(
            conditions, foreign_processes=self._foreign, power_modes=modes
        )

    def _record_failure(self, case: Case, round_number: int, error: CaseError) -> None:
        self._failed_now.add(case)
        failure = Failure(
            run_id=self._environment.run_id,
            case_id=case.case_id,
            case=case,
            environment_id=self._environment.environment_id,
            round=round_number,
            stage=error.stage,
            error=error.error,
            message=without_paths(error.message),
            stderr_tail=without_paths(error.stderr_tail),
            warnings=self._warnings(case),
        )
        self._append(failure)
        self._listener.failed(failure)

    def _append(self, record: Measurement | Failure) -> None:
        self._store.append(record)
        self._recorded += 1

    def _warnings(self, case: Case) -> list[str]:
        usable = self._environment.chip.threads
        if case.threads > usable:
            return [f"{case.threads} threads on {usable} usable CPUs"]
        return []

    def _history(self, case: Case) -> History:
        return self._store.history(case, self._environment.environment_id)


def without_paths(text: str) -> str:
    """`text` with paths that lead out of the working folder cut to their last part.

    Records leave the machine, and a path names its user.
    """
    return OUTSIDE_PATH.sub(r"\1", text)


def _known(rounds: Sequence[Measurement]) -> Known | None:
    """What the first round found out; None before it."""
    if not rounds:
        return None
    first = rounds[0]
    return Known(first.check, first.cost, first.structure, first.passport)


def is_short_of_memory(error: CaseError) -> bool:
    """Whether a child failed for want of memory; the kernel's way to say so is SIGKILL."""
    return error.error == OUT_OF_MEMORY or "SIGKILL" in error.message


def most_at_once() -> int:
    """Children that the files which this process may have open are enough for: two each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - KEPT_FREE_FILES) // 2) if soft != resource.RLIM_INFINITY else sys.maxsize


def has_room(free_bytes: int | None, peaks: Sequence[int | None]) -> bool:
    """Whether memory holds another child beside those whose peaks are `peaks`; one always goes.

    It may need as much as the largest of them, and only one of them runs at a time: so twice the
    largest peak, and something to spare. Where nothing is known there is room.
    """
    if not peaks or free_bytes is None:
        return True
    return free_bytes - KEPT_FREE_BYTES > 2 * max(peak or 0 for peak in peaks)

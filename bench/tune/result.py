"""The result of a tuning, from its state and the records of its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.analysis.profile.recorded import peaks_for
from bench.analysis.recorded import Recorded
from bench.analysis.settle import Board
from bench.analysis.settle.ledger import Ledger
from bench.analysis.stats import summarise
from bench.analysis.verdict import usable_cpus
from bench.records import Case, Environment, Failure, Measurement, Peaks, Record, of_cases
from bench.tune import answer, final
from bench.tune.final import Outcome
from bench.tune.ranking import latencies
from bench.tune.search import refused
from bench.tune.space import EXACT
from bench.tune.tuning import Tuning


class Result(NamedTuple):
    """A tuning with its outcome, the answers of its final, and the records of both parts.

    `exact` is the outcome of the fastest candidate in fp32, where the answer is in another
    precision. `peaks` are those in fp32; None where they are not known.
    """

    tuning: Tuning
    outcome: Outcome
    board: Board
    search: Sequence[Measurement | Failure]
    final: Sequence[Measurement | Failure]
    margin: float
    exact: Outcome | None = None
    lacking: Sequence[str] = ()
    peaks: Peaks | None = None

    @property
    def has_failed(self) -> bool:
        """Whether there is no answer because candidates failed."""
        records = (*self.search, *self.final)
        return self.outcome.candidate is None and any(isinstance(r, Failure) for r in records)

    @property
    def sentences(self) -> list[str]:
        """The answer, where the gain comes from, fp32, stages, what is possible, and untried."""
        found = [answer.sentence(self.outcome, self.margin)]
        if self.outcome.finding == "FASTER":
            steps = answer.steps(self.outcome.baseline, self.outcome.winner, self.latencies)
            found.append(answer.origin(steps))
        if self.exact:
            found.append(f"In fp32: {answer.sentence(self.exact, self.margin)}")
        elif self.outcome.winner.precision != EXACT:
            found.append(f"In fp32: no gain over {self.outcome.baseline.name} was found.")
        out = refused(self.tuning.space, self.search)
        seconds = {case: each for case, each in self.latencies.items() if case not in out}
        found.append(answer.stages(self.tuning, self.board, seconds))
        found += [answer.left(self.share_of_peak, self.peaks), answer.untried(self.tuning)]
        return [each for each in found if each]

    @property
    def in_fp32(self) -> Case:
        """The fastest way in fp32 that the final knows: at least the best form in eager mode."""
        found = self.exact or self.outcome
        return found.winner if found.winner.precision == EXACT else found.baseline

    @property
    def share_of_peak(self) -> float | None:
        """The share of the peak rate that `in_fp32` reaches in the final; None if unknown."""
        case = self.in_fp32
        latency_s = self.latency_s(case)
        if not (latency_s and self.peaks):
            return None
        cost = next(each.cost for each in measured(self.final) if each.case == case)
        return answer.share_of_peak(cost, case.batch, latency_s, self.peaks)

    def latency_s(self, case: Case) -> float | None:
        """Seconds of a case in the final; None if it had no round there."""
        rounds = [each.samples_s for each in measured(self.final) if each.case == case]
        return summarise(rounds).latency if rounds else None

    @property
    def latencies(self) -> dict[Case, float]:
        """Seconds of each candidate in the search."""
        return latencies(measured(self.search))


def result_of(
    tuning: Tuning,
    records: Sequence[Record],
    environment: Environment,
    margin: float,
    board: Board | None = None,
) -> Result:
    """Return the result that `records` give, which are all those of the tuning's folder.

    `board` is that of a final that has just ended; it also knows why more rounds do not decide.
    """
    of_search, of_final = (
        [each for each in of_cases(records) if each.run_id in runs]
        for runs in (tuning.search_runs, tuning.final_runs)
    )
    board = board or board_of(tuning, records, environment, margin)
    failed = failures_in(of_final)
    outcome = final.outcome(tuning, board, failed)
    exact = final.exact(tuning, board, outcome, failed)
    found = Result(tuning, outcome, board, of_search, of_final, margin, exact)
    return found._replace(peaks=peaks_for(records, found.in_fp32, tuning.environment_id))


def board_of(
    tuning: Tuning, records: Sequence[Record], environment: Environment, margin: float
) -> Board:
    """Return what the final has answered so far; nothing before each of its cases had a turn."""
    own = [each for each in of_cases(records) if each.run_id in tuning.final_runs]
    if not set(final.cases(tuning)) <= {each.case for each in own}:
        return Board([], {}, 0.0)
    recorded = Recorded(environment, own, usable_cpus=usable_cpus(records))
    return Ledger(recorded, margin).board(final.questions(tuning))


def measured(records: Iterable[Measurement | Failure]) -> list[Measurement]:
    """The measurements among the records."""
    return [each for each in records if isinstance(each, Measurement)]


def failures_in(records: Sequence[Measurement | Failure]) -> dict[Case, Failure]:
    """The failure of each case whose last record is one."""
    last = {each.case: each for each in records}
    return {case: each for case, each in last.items() if isinstance(each, Failure)}

"""Which of two cases is faster, by how much, and whether the samples suffice to decide.

Cases that took turns in one run are compared block by block. Other cases are compared process by
process, and their interval includes the machine's drift between the two times.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import stats
from bench.analysis.conditions import has_true_clock
from bench.analysis.disturbance import undisturbed
from bench.analysis.kinds import Range, numbers
from bench.analysis.paired import by_kind, ranges_of_kinds, ratio_of_kinds, ratio_of_runs
from bench.analysis.pairs import Pair, State, paired, pairs_of
from bench.analysis.stats import FEWEST_PROCESSES, Estimate, Finding
from bench.records import Case, Measurement

FEW_ROUNDS_REMEDY = "run the same command with --rounds 6"
OF_KINDS = (
    "processes differ by their page faults, and one kind is FASTER where another is SLOWER; more "
    "rounds do not make them more alike"
)
OF_SHARES = (
    "processes differ by their page faults; the interval holds for all shares of the kinds that "
    "their numbers allow"
)
OF_RUNS = (
    "the ratio differs between runs by more than their rounds explain; the interval holds that"
)
TOO_FAR_APART = "the latencies are too far apart for an interval"
WITHOUT_BUDGET = " and without --budget"  # which would end the case again


class Comparison(msgspec.Struct, frozen=True):
    """The result of comparing `candidate` with `base`.

    `base_s` and `candidate_s` are geometric means, in seconds, of the medians that the ratio is
    computed from, so candidate_s / base_s is the ratio: the medians of paired blocks or, with fewer
    than FEWEST_PROCESSES paired rounds, of processes. Ratios are candidate latency / base latency:
    below 1, the candidate is faster. `ratio` is the measured ratio. `adjusted` is the ratio in the
    machine's usual state, None when the state is not known. `rounds` counts the pairs of processes
    that took turns; it is 0 when the cases were measured at different times. `more_rounds` is how
    many more rounds would decide with a probability of 80 %; None when 200 rounds would not decide,
    when the finding is not UNDECIDED, and until `with_more_rounds` has computed it. `kinds` are the
    pairs of kinds of processes that have an interval of their own; `ratio` holds their mixture.
    `kinds_agree`: whether no kind alone is FASTER where another is SLOWER; where they disagree,
    `ratio` holds the interval of each.
    """

    base: Case
    candidate: Case
    base_s: float
    candidate_s: float
    ratio: Estimate | None
    adjusted: Estimate | None
    finding: Finding
    margin: float
    rounds: int
    more_rounds: int | None = None
    note: str = ""
    kinds: int = 1
    kinds_agree: bool = True

    @property
    def may_be_decided(self) -> bool:
        """Whether more rounds of both, in turns, may decide. They do not make kinds more alike."""
        has_taken_turns = self.ratio is not None and self.rounds > 0
        return self.finding == "UNDECIDED" and has_taken_turns and self.kinds_agree

    @property
    def told_apart(self) -> bool:
        """Whether one case was found FASTER than the other."""
        return self.finding in ("FASTER", "SLOWER")


def compare(
    base: Sequence[Measurement],
    candidate: Sequence[Measurement],
    usual: State | None = None,
    margin: float = stats.MARGIN,
) -> Comparison:
    """Compare two cases by their rounds; each case needs at least one round.

    Where too few rounds took turns, all rounds decide if they can, as those of different times do.
    `usual` is the state that the ratio is adjusted to; `margin` the smallest relevant difference.
    """
    both = paired(base, candidate)
    rounds = [pairs_of(*each) for each in both]
    if len(rounds) >= FEWEST_PROCESSES:
        found = _side_by_side(both, rounds, usual, margin)
    else:
        found = _apart(base, candidate)
        if rounds and stats.find(found.ratio, margin) not in ("FASTER", "SLOWER"):
            found = _too_few(base, candidate, len(rounds))
    base_s, candidate_s = _latencies(rounds, base, candidate)
    return Comparison(
        base=base[0].case,
        candidate=candidate[0].case,
        base_s=base_s,
        candidate_s=candidate_s,
        finding=stats.find(found.ratio, margin),
        margin=margin,
        **found._asdict(),
    )


def with_more_rounds(found: Comparison) -> Comparison:
    """The same comparison with `more_rounds`, where more may decide."""
    if found.ratio is None or not found.may_be_decided:
        return found
    more = stats.more_rounds(found.ratio, found.rounds, found.margin)
    return msgspec.structs.replace(found, more_rounds=more)


class _Found(NamedTuple):
    """The fields of a Comparison that depend on how the rounds were paired."""

    ratio: Estimate | None
    adjusted: Estimate | None = None
    rounds: int = 0
    note: str = ""
    kinds: int = 1
    kinds_agree: bool = True


def _side_by_side(
    both: Sequence[tuple[Measurement, Measurement]],
    rounds: Sequence[Sequence[Pair]],
    usual: State | None,
    margin: float,
) -> _Found:
    logs = [[pair.log_ratio for pair in pairs] for pairs in rounds]
    groups = by_kind(logs, _kinds_of_rounds(both))
    ranges = ranges_of_kinds(groups)
    ratio, of_runs = ratio_of_kinds(groups, ranges), ratio_of_runs(_by_run(both, logs))
    of_each = [_alone(each) for each in ranges]
    if ratio is None or not all(of_each):
        return _Found(None, rounds=len(rounds), note=TOO_FAR_APART)
    agree = not {"FASTER", "SLOWER"} <= {stats.find(each, margin) for each in of_each}
    notes = [OF_SHARES if agree else OF_KINDS] * (len(groups) > 1)
    notes += [OF_RUNS] * (of_runs is not None)
    others = [of_runs, *(() if agree else of_each)]
    return _Found(
        functools.reduce(stats.outer, filter(None, others), ratio),
        adjust(rounds, usual),
        len(rounds),
        "; ".join(notes),
        len(groups),
        kinds_agree=agree,
    )


def _too_few(base: Sequence[Measurement], candidate: Sequence[Measurement], rounds: int) -> _Found:
    """Some rounds took turns, fewer than an interval needs."""
    ended_by_budget = "budget" in (base[-1].stopped_by, candidate[-1].stopped_by)
    remedy = FEW_ROUNDS_REMEDY + WITHOUT_BUDGET * ended_by_budget
    few = "one round" if rounds == 1 else f"{rounds} rounds"
    return _Found(None, rounds=rounds, note=f"{few} cannot decide: {remedy}")


def _alone(kind: Range) -> Estimate | None:
    """The ratio of one kind of processes alone."""
    return stats.exponential(Estimate((kind.low + kind.high) / 2, kind.low, kind.high))


def _by_run(
    both: Sequence[tuple[Measurement, Measurement]], logs: Sequence[Sequence[float]]
) -> list[list[float]]:
    """The means of the rounds' log-ratios, for each run in which the two took turns."""
    found: dict[str, list[float]] = {}
    for (mine, _), each in zip(both, logs, strict=True):
        found.setdefault(mine.run_id, []).append(statistics.fmean(each))
    return list(found.values())


def _kinds_of_rounds(
    both: Sequence[tuple[Measurement, Measurement]],
) -> list[tuple[int, int]]:
    """The kinds of both processes (`bench.analysis.kinds`), for each round."""
    sides = zip(*both, strict=True)
    return list(zip(*map(numbers, sides), strict=True))


def _apart(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> _Found:
    """Compare cases measured at different times; the interval includes the machine's drift."""
    drift = drift_of(base, candidate)
    if drift is None:
        return _Found(None, note="measured at different times; the machine's drift is unknown")
    ratio = stats.separate_ratio(_medians(base), _medians(candidate), drift)
    if ratio is None and min(len(base), len(candidate)) >= FEWEST_PROCESSES:
        return _Found(None, note=TOO_FAR_APART)
    if ratio is None:
        remedy = f"run each with --rounds {FEWEST_PROCESSES} or more"
        return _Found(None, note=f"each side needs {FEWEST_PROCESSES} processes: {remedy}")
    return _Found(ratio, note="measured at different times: the interval includes the drift")


def _latencies(
    rounds: Sequence[Sequence[Pair]], base: Sequence[Measurement], candidate: Sequence[Measurement]
) -> tuple[float, float]:
    """Geometric means in seconds: of paired blocks by round, or of the processes."""
    if len(rounds) >= FEWEST_PROCESSES:
        logs = [
            [statistics.fmean(pair.base_log for pair in pairs) for pairs in rounds],
            [statistics.fmean(pair.candidate_log for pair in pairs) for pairs in rounds],
        ]
    else:
        logs = [[math.log(median) for median in _medians(side)] for side in (base, candidate)]
    base_s, candidate_s = (math.exp(statistics.fmean(side)) for side in logs)
    return base_s, candidate_s


def _medians(rounds: Sequence[Measurement]) -> list[float]:
    return [statistics.median(record.samples_s) for record in rounds]


def adjust(rounds: Sequence[Sequence[Pair]], usual: State | None) -> Estimate | None:
    """The ratio in the machine's `usual` state; None if any block has no recorded state."""
    if usual is None or any(pair.state is None for pairs in rounds for pair in pairs):
        return None
    return stats.adjusted_ratio(
        [[pair.log_ratio for pair in pairs] for pairs in rounds],
        [[pair.state for pair in pairs if pair.state] for pairs in rounds],
        usual,
    )


def usual_state(records: Iterable[Measurement]) -> State | None:
    """The usual state: log of the median kernel seconds over all blocks of `records`.

    Rounds with a false clock do not count, nor do disturbed rounds if there are others.
    """
    rounds = undisturbed([r for r in records if r.block_compute_s and has_true_clock(r.conditions)])
    if not rounds:
        return None
    compute = statistics.median(s for record in rounds for s in record.block_compute_s)
    memory = statistics.median(s for record in rounds for s in record.block_memory_s)
    return (math.log(compute), math.log(memory))


def drift_of(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> float | None:
    """The machine's drift between two times, as a standard deviation of logarithms.

    With x the log of a kernel's median seconds in each round, the drift of a kernel is
    max(stdev(x of all rounds), |mean(x of base) - mean(x of candidate)|). Returns the larger drift
    of the two kernels; None if a round has no kernel times or there are fewer than three rounds.
    """
    rounds = [*base, *candidate]
    if len(rounds) < 3 or not all(record.block_compute_s for record in rounds):
        return None
    return max(
        max(statistics.stdev([*one, *other]), abs(statistics.fmean(one) - statistics.fmean(other)))
        for one, other in zip(kernel_logs(base), kernel_logs(candidate), strict=True)
    )


def kernel_logs(rounds: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Log of the median seconds of the compute and the memory kernel in each round."""
    compute = [math.log(statistics.median(r.block_compute_s)) for r in rounds]
    memory = [math.log(statistics.median(r.block_memory_s)) for r in rounds]
    return compute, memory

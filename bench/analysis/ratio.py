"""Which of two cases is faster, by how much, and whether that can be known yet.

Cases of one run are compared by blocks that were timed next to each other; cases of two runs by
processes, and the interval then holds what the machine moved in between.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis import stats
from bench.analysis.stats import Estimate, Finding
from bench.records import Case, Measurement

SMOOTHED = 2  # blocks before and after, whose kernels tell the state of a block too
FEWEST_PAIRED = 2  # rounds
ONE_ROUND_REMEDY = "`bench run --rounds 6` adds to it"

State = tuple[float, float]


class Comparison(msgspec.Struct, frozen=True):
    """What came of comparing `candidate` with `base`.

    `base_s` and `candidate_s` are means of the processes' medians. Ratios are of latencies,
    candidate / base: below 1 is faster. `ratio` is what was measured and
    `adjusted` the same in the machine's usual state, where that could be told; `rounds` are pairs
    of processes that took turns, 0 where the two were measured at different times. `more_rounds`
    would decide (None: hundreds would not, or none are needed).
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
    more_rounds: int | None
    note: str = ""


class Pair(NamedTuple):
    """Two blocks timed next to each other: log of candidate / base, and the machine's state."""

    log_ratio: float
    state: State | None


def compare(
    base: Sequence[Measurement],
    candidate: Sequence[Measurement],
    usual: State | None = None,
    margin: float = stats.MARGIN,
) -> Comparison:
    """Compare two cases by their rounds; both need at least one."""
    rounds = pair_rounds(base, candidate)
    if len(rounds) >= FEWEST_PAIRED:
        found = _side_by_side(rounds, usual, margin)
    elif rounds:
        found = _Found(None, rounds=1, note=f"one round decides nothing: {ONE_ROUND_REMEDY}")
    else:
        found = _apart(base, candidate, margin)
    return Comparison(
        base=base[0].case,
        candidate=candidate[0].case,
        base_s=statistics.fmean(_medians(base)),
        candidate_s=statistics.fmean(_medians(candidate)),
        finding=stats.find(found.ratio, margin),
        margin=margin,
        **found._asdict(),
    )


class _Found(NamedTuple):
    """What one way of comparing found."""

    ratio: Estimate | None
    adjusted: Estimate | None = None
    rounds: int = 0
    more_rounds: int | None = None
    note: str = ""


def _side_by_side(rounds: Sequence[Sequence[Pair]], usual: State | None, margin: float) -> _Found:
    ratio = stats.paired_ratio([[pair.log_ratio for pair in pairs] for pairs in rounds])
    assert ratio is not None
    undecided = stats.find(ratio, margin) == "UNDECIDED"
    more = stats.more_rounds(ratio, len(rounds), margin) if undecided else None
    return _Found(ratio, adjust(rounds, usual), len(rounds), more)


def _apart(base: Sequence[Measurement], candidate: Sequence[Measurement], margin: float) -> _Found:
    """Measured at different times: only what exceeds the drift in between is a difference."""
    drift = drift_of(base, candidate)
    if drift is None:
        return _Found(None, note="measured at different times; how the machine drifted is unknown")
    ratio = stats.separate_ratio(_medians(base), _medians(candidate), drift)
    if ratio is None:
        return _Found(None, note="one process a side says nothing of how processes differ")
    return _Found(ratio, note="measured at different times: the interval holds the drift")


def _medians(rounds: Sequence[Measurement]) -> list[float]:
    return [statistics.median(record.samples_s) for record in rounds]


def pair_rounds(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> list[list[Pair]]:
    """The pairs of blocks of each round in which the two took turns."""
    theirs = {sitting_of(record): record for record in candidate}
    return [_pairs(mine, theirs[sitting_of(mine)]) for mine in base if sitting_of(mine) in theirs]


def sitting_of(record: Measurement) -> tuple[str, int]:
    """What records that took turns have in common, and no others."""
    return (record.run_id, record.sitting or -record.round)


def _pairs(base: Measurement, candidate: Measurement) -> list[Pair]:
    """Block by block: the n-th of each was timed in the n-th turn."""
    states = _states(base, candidate)
    medians = [[statistics.median(block) for block in r.blocks] for r in (base, candidate)]
    ratios = [math.log(theirs / mine) for mine, theirs in zip(*medians, strict=False)]
    return [Pair(ratio, state) for ratio, state in zip(ratios, states, strict=False)]


def _states(base: Measurement, candidate: Measurement) -> list[State | None]:
    """In which state of the machine each turn was: medians over neighbouring blocks."""
    turns = min(len(base.block_sizes), len(candidate.block_sizes))
    if not (base.block_compute_s and candidate.block_compute_s):
        return [None] * turns
    timeline = sorted(
        (start, index, math.log(compute), math.log(memory))
        for record in (base, candidate)
        for index, (start, compute, memory) in enumerate(
            zip(record.block_starts_s, record.block_compute_s, record.block_memory_s, strict=True)
        )
    )
    places = [[] for _ in range(turns)]  # type: list[list[int]]
    for place, (_, index, _, _) in enumerate(timeline):
        if index < turns:
            places[index].append(place)
    return [_smooth(timeline, min(own), max(own)) for own in places]


def _smooth(timeline: Sequence[tuple[float, int, float, float]], first: int, last: int) -> State:
    near = timeline[max(first - SMOOTHED, 0) : last + SMOOTHED + 1]
    return (statistics.median(e[2] for e in near), statistics.median(e[3] for e in near))


def adjust(rounds: Sequence[Sequence[Pair]], usual: State | None) -> Estimate | None:
    """The ratio in the machine's `usual` state; None where the state was not recorded."""
    if usual is None or any(pair.state is None for pairs in rounds for pair in pairs):
        return None
    return stats.adjusted_ratio(
        [[pair.log_ratio for pair in pairs] for pairs in rounds],
        [[pair.state for pair in pairs if pair.state] for pairs in rounds],
        usual,
    )


def usual_state(records: Iterable[Measurement]) -> State | None:
    """Medians of what the kernels took, over all blocks on record of one environment."""
    rounds = [record for record in records if record.block_compute_s]
    if not rounds:
        return None
    compute = statistics.median(s for record in rounds for s in record.block_compute_s)
    memory = statistics.median(s for record in rounds for s in record.block_memory_s)
    return (math.log(compute), math.log(memory))


def drift_of(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> float | None:
    """How much the machine moves between two times: a standard deviation of logarithms.

    Of the kernel that moved more, over all rounds or from one side to the other. None where a
    round has no kernels, or there are fewer than three.
    """
    rounds = [*base, *candidate]
    if len(rounds) < 3 or not all(record.block_compute_s for record in rounds):
        return None
    return max(
        max(statistics.stdev([*one, *other]), abs(statistics.fmean(one) - statistics.fmean(other)))
        for one, other in zip(_kernel_logs(base), _kernel_logs(candidate), strict=True)
    )


def _kernel_logs(rounds: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Logarithms of what each kernel took, round by round."""
    compute = [math.log(statistics.median(r.block_compute_s)) for r in rounds]
    memory = [math.log(statistics.median(r.block_memory_s)) for r in rounds]
    return compute, memory

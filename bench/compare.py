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

from bench import stats
from bench.records import Case, Measurement
from bench.stats import Estimate, Finding

SMOOTHED = 2  # blocks before and after, whose kernels tell the state of a block too
FEWEST_PAIRED = 2  # rounds

State = tuple[float, float]


class Comparison(msgspec.Struct, frozen=True):
    """What came of comparing `candidate` with `base`.

    Ratios are of latencies, candidate / base: below 1 is faster. `ratio` is what was measured and
    `adjusted` the same in the machine's usual state, where that could be told; `rounds` are pairs
    of processes that took turns, 0 where the two were measured at different times. `more_rounds`
    would decide (None: hundreds would not, or none are needed).
    """

    base: Case
    candidate: Case
    ratio: Estimate | None
    adjusted: Estimate | None
    finding: Finding
    margin: float
    rounds: int
    more_rounds: int | None
    notes: list[str] = []


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
        return _side_by_side(base[0].case, candidate[0].case, rounds, usual, margin)
    return _apart(base, candidate, margin)


def _side_by_side(
    base: Case,
    candidate: Case,
    rounds: Sequence[Sequence[Pair]],
    usual: State | None,
    margin: float,
) -> Comparison:
    ratio = stats.paired_ratio([[pair.log_ratio for pair in pairs] for pairs in rounds])
    assert ratio is not None
    finding = stats.find(ratio, margin)
    undecided = finding == "UNDECIDED"
    return Comparison(
        base=base,
        candidate=candidate,
        ratio=ratio,
        adjusted=adjust(rounds, usual),
        finding=finding,
        margin=margin,
        rounds=len(rounds),
        more_rounds=stats.more_rounds(ratio, len(rounds), margin) if undecided else None,
    )


def _apart(
    base: Sequence[Measurement], candidate: Sequence[Measurement], margin: float
) -> Comparison:
    """Measured at different times: only what exceeds the drift in between is a difference."""
    notes = ["measured at different times: the interval holds the drift of the machine"]
    drift = drift_of([*base, *candidate])
    sides = [[statistics.median(r.samples_s) for r in side] for side in (base, candidate)]
    ratio = None if drift is None else stats.separate_ratio(*sides, drift)
    if drift is None:
        notes = ["measured at different times, and nothing tells how the machine drifted"]
    elif ratio is None:
        notes = ["one process a side tells nothing of the spread between processes"]
    return Comparison(
        base=base[0].case,
        candidate=candidate[0].case,
        ratio=ratio,
        adjusted=None,
        finding=stats.find(ratio, margin),
        margin=margin,
        rounds=0,
        more_rounds=None,
        notes=notes,
    )


def pair_rounds(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> list[list[Pair]]:
    """The pairs of blocks of each round in which the two took turns."""
    theirs = {(record.run_id, record.round): record for record in candidate}
    together = [
        (mine, theirs[mine.run_id, mine.round])
        for mine in base
        if (mine.run_id, mine.round) in theirs
    ]
    return [_pairs(mine, other) for mine, other in together if _took_turns(mine, other)]


def _took_turns(one: Measurement, other: Measurement) -> bool:
    """Whether blocks of both were timed in the same stretch of time, not in different waves."""
    first = max(one.block_starts_s[0], other.block_starts_s[0])
    last = min(one.block_starts_s[-1], other.block_starts_s[-1])
    return first <= last or len(one.block_starts_s) == len(other.block_starts_s) == 1


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


def drift_of(records: Sequence[Measurement]) -> float | None:
    """How much the machine moves from one round to another: a standard deviation of logarithms.

    Of the kernel that moves more. None where a round has none, or there are fewer than three.
    """
    if len(records) < 3 or not all(record.block_compute_s for record in records):
        return None
    kernels = ([r.block_compute_s for r in records], [r.block_memory_s for r in records])
    return max(
        statistics.stdev(math.log(statistics.median(each)) for each in kernel) for kernel in kernels
    )

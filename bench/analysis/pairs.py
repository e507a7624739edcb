"""Records of two cases that took turns, and the pairs of their neighbouring blocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.records import Measurement

SMOOTHED = 2  # the state of a block is a median over this many blocks on either side, too

State = tuple[float, float]


class Pair(NamedTuple):
    """Two neighbouring blocks: logs of their medians in seconds, and the state of the machine.

    A state is (log compute seconds, log memory seconds) of the calibration kernels.
    """

    base_log: float
    candidate_log: float
    state: State | None

    @property
    def log_ratio(self) -> float:
        """log(candidate / base)."""
        return self.candidate_log - self.base_log


def pair_rounds(base: Sequence[Measurement], candidate: Sequence[Measurement]) -> list[list[Pair]]:
    """The pairs of neighbouring blocks, for each round in which the two cases took turns."""
    return [pairs_of(*both) for both in paired(base, candidate)]


def paired(
    base: Iterable[Measurement], candidate: Iterable[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    """The records of both cases, for each round in which they took turns (`sitting_of`)."""
    theirs = {sitting_of(record): record for record in candidate}
    return [(mine, theirs[sitting_of(mine)]) for mine in base if sitting_of(mine) in theirs]


def sitting_of(record: Measurement) -> tuple[str, int]:
    """A key that is equal for records whose cases took turns, and for no others.

    Old records have no `sitting` (0); their cases of one round took turns.
    """
    return (record.run_id, record.sitting or -record.round)


def pairs_of(base: Measurement, candidate: Measurement) -> list[Pair]:
    """Pair the n-th block of one with the n-th block of the other: both had the n-th turn."""
    states = _states(base, candidate)
    logs = ([math.log(statistics.median(block)) for block in r.blocks] for r in (base, candidate))
    return [Pair(*each) for each in zip(*logs, states, strict=False)]


def _states(base: Measurement, candidate: Measurement) -> list[State | None]:
    """The state of the machine in each turn: medians over neighbouring blocks in time order."""
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

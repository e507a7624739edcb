"""Kinds of processes of one case: by the page faults that each of its calls causes.

A process on a CPU causes few page faults in each call, or thousands, and stays so: memory that a
call gives back must be mapped anew by the next. The kinds differ in speed.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import stats
from bench.records import Measurement

FAULT_S = 1e-6  # least time of a page fault
SHARE = 0.01  # page faults that take less of a call do not make a kind
FREEDOM_OF_SEVERAL = 3  # fewest degrees of freedom with which each kind has its own interval
FACTOR = 2.0  # a kind begins where the page faults are more than this many times the next lower


class Kind(NamedTuple):
    """Processes with similar page faults a call: fewest, most, and each one's median in seconds.

    `fewest` and `most` are None where a process has no page faults on record.
    """

    fewest: float | None
    most: float | None
    medians_s: list[float]

    @property
    def latency_s(self) -> float:
        """The mean of the medians."""
        return statistics.fmean(self.medians_s)


def faults_per_call(record: Measurement) -> float | None:
    """Page faults of the process per timed call; None where they are not on record."""
    if record.conditions is None or record.conditions.page_faults is None:
        return None
    return record.conditions.page_faults / (len(record.samples_s) * record.calls_per_sample)


def few_faults(latency_s: float) -> float:
    """The page faults that take SHARE of a call of this latency."""
    return SHARE * latency_s / FAULT_S


def kinds(rounds: Sequence[Measurement]) -> list[Kind]:
    """The kinds of processes of one case, from few page faults to many; [] without rounds."""
    members: dict[int, list[tuple[float | None, float]]] = {}
    medians, faults = _medians(rounds), map(faults_per_call, rounds)
    for number, fault, median in zip(numbers(rounds), faults, medians, strict=True):
        members.setdefault(number, []).append((fault, median))
    return [_kind(members[number]) for number in sorted(members)]


def variance_within(groups: Sequence[Sequence[float]]) -> float:
    """s² = sum of (x - mean of its group)² / (n - g), for n values in g groups."""
    freedom = sum(map(len, groups)) - len(groups)
    several = [each for each in groups if len(each) > 1]
    return sum(stats.variance(each) * (len(each) - 1) for each in several) / freedom


class Range(NamedTuple):
    """The interval of one kind's mean, and how many of all processes are of that kind."""

    processes: float
    low: float
    high: float


def of_mixture(
    ranges: Sequence[Range], confidence: float = stats.CONFIDENCE
) -> tuple[float, float]:
    """The lowest and the highest mean over kinds whose shares are not known exactly.

    Each share lies in its Wilson interval, and they add up to 1. A kind that one of 30 processes
    had may have a share of 17 %, and one that one of five had, 62 %. Source: Wilson (1927),
    "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22.
    """
    total = sum(each.processes for each in ranges)
    found = [stats.share(each.processes, total, confidence) for each in ranges]
    shares = [(each.low, each.high) for each in found]
    lowest = _largest_mean([-each.low for each in ranges], shares)
    return -lowest, _largest_mean([each.high for each in ranges], shares)


def _largest_mean(values: Sequence[float], shares: Sequence[tuple[float, float]]) -> float:
    """The largest mean of values whose shares lie in these ranges and add up to 1."""
    mean = sum(value * least for value, (least, _) in zip(values, shares, strict=True))
    left = 1 - sum(least for least, _ in shares)
    for value, (least, most) in sorted(zip(values, shares, strict=True), reverse=True):
        more = min(most - least, left)
        mean += more * value
        left -= more
    return mean


def _kind(processes: Sequence[tuple[float | None, float]]) -> Kind:
    """The kind of processes with these (page faults a call, median in seconds)."""
    medians = [median for _, median in processes]
    known = [faults for faults, _ in processes if faults is not None]
    if len(known) < len(processes):
        return Kind(None, None, medians)
    return Kind(min(known), max(known), medians)


def numbers(rounds: Sequence[Measurement]) -> list[int]:
    """For each round, the number of its kind, from 0 for the fewest page faults.

    Sorted by page faults a call, a kind begins at a process that has more than FACTOR times those
    of the one before, plus as many as take SHARE of the latency. All are of kind 0 where a process
    has no page faults on record.
    """
    faults = [known for record in rounds if (known := faults_per_call(record)) is not None]
    if len(faults) < len(rounds) or max(faults, default=0) <= FACTOR * min(faults, default=0):
        return [0] * len(rounds)
    few = few_faults(statistics.median(_medians(rounds))) if rounds else 0.0
    ordered = sorted(faults)
    starts = [
        count for before, count in itertools.pairwise(ordered) if count > FACTOR * before + few
    ]
    return [sum(start <= count for start in starts) for count in faults]


def _medians(rounds: Sequence[Measurement]) -> list[float]:
    return [statistics.median(record.samples_s) for record in rounds]


def kinds_text(found: Sequence[Kind]) -> str:
    """Number of processes, their page faults a call, and latency: `3 with 0 to 2 (67.2 ms), …`."""
    return ", ".join(
        f"{len(kind.medians_s)} with {_range(kind)} ({1e3 * kind.latency_s:.3g} ms)"
        for kind in found
    )


def faults_text(found: Sequence[Kind]) -> str:
    """Page faults a call of each kind, and its processes: `0 (2), 4,672 (1)`; "" if not known."""
    known = [kind for kind in found if kind.fewest is not None]
    return ", ".join(f"{_range(kind)} ({len(kind.medians_s)})" for kind in known)


def _range(kind: Kind) -> str:
    ends = [f"{faults or 0:,.0f}" for faults in (kind.fewest, kind.most)]
    return " to ".join(dict.fromkeys(ends))

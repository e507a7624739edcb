"""What is read off profiles: time by category, share of the roofline, what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

from bench.profiling.breakdown import adds_up
from bench.records import Category, Peaks, Profile, ProfileRow

CATEGORIES: tuple[str, ...] = get_args(Category)
GAPS, SYNC, RESIDUAL = "launch and host gaps", "synchronisation", "residual"
TERMS = (*CATEGORIES, GAPS, SYNC, RESIDUAL)


class Change(NamedTuple):
    """Seconds that a term of the latency takes before and after."""

    term: str
    before_s: float
    after_s: float

    @property
    def seconds(self) -> float:
        """What it gained; below 0 what it lost."""
        return self.after_s - self.before_s


def by_term(profile: Profile) -> dict[str, float]:
    """Seconds of each category and of the other terms; they add up to the plain latency."""
    seconds = dict.fromkeys(TERMS, 0.0)
    for row in profile.rows:
        seconds[row.category] += row.time_s
    waterfall = profile.waterfall
    seconds[GAPS], seconds[SYNC] = waterfall.gaps_s, waterfall.sync_s
    seconds[RESIDUAL] = waterfall.residual_s
    return seconds


def difference(before: Profile, after: Profile) -> list[Change]:
    """What each term gained or lost, the largest first; they add up to that of the latencies."""
    ours, theirs = by_term(before), by_term(after)
    changes = [Change(term, ours[term], theirs[term]) for term in TERMS]
    return sorted((c for c in changes if c.before_s or c.after_s), key=lambda c: -abs(c.seconds))


def largest(profile: Profile, count: int) -> list[ProfileRow]:
    """The rows that take most time."""
    return sorted(profile.rows, key=lambda row: -row.time_s)[:count]


def roofline_share(row: ProfileRow, peaks: Peaks | None) -> float | None:
    """What the row reaches of what the device could at its ratio of products to bytes.

    None where products, bytes or peaks are not known. Above 1 where data stayed in a cache.
    """
    if peaks is None or not row.macs or not row.bytes or not row.time_s:
        return None
    attainable = min(peaks.macs_per_s, peaks.bytes_per_s * row.macs / row.bytes)
    return row.macs / row.time_s / attainable


def doubts(profile: Profile) -> list[str]:
    """What keeps the breakdown from being believed."""
    waterfall = profile.waterfall
    if adds_up(waterfall):
        return []
    share = waterfall.residual_s / waterfall.plain_s
    return [f"the terms do not add up: the residual is {100 * share:+.1f} % of the latency"]


def spoilt(profiles: Sequence[Profile]) -> list[Profile]:
    """Those that do not add up."""
    return [profile for profile in profiles if doubts(profile)]

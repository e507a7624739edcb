"""Summaries of profiles: time by category, share of the roofline, change between two cases."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple, get_args

from msgspec import structs

from bench.analysis.profile.breakdown import adds_up
from bench.analysis.stats import mean_interval, mean_of_known
from bench.records import Category, Peaks, Profile, ProfileRow, Utilisation, Waterfall

CATEGORIES: tuple[str, ...] = get_args(Category)
LATENCY = "latency"
GAPS, SYNC, RESIDUAL = "launch and host gaps", "synchronisation", "residual"
TERMS = (*CATEGORIES, GAPS, SYNC, RESIDUAL)


class Change(NamedTuple):
    """Seconds that a term of the latency takes before and after a change.

    `within_s` is half the width of the change's 95 % interval, from pairs of rounds that were
    profiled next to each other; None for fewer than three pairs.
    """

    term: str
    before_s: float
    after_s: float
    within_s: float | None

    @property
    def seconds(self) -> float:
        """after_s - before_s: below 0, the term became faster."""
        return self.after_s - self.before_s


def mean_of_rounds(rounds: Sequence[Profile]) -> Profile:
    """One profile with the means of the rounds' terms, rows and utilisations, which add up too."""
    first = rounds[0]
    alike: dict[tuple[str, str, str], list[ProfileRow]] = {}
    for row in (row for each in rounds for row in each.rows):
        alike.setdefault((row.operator, row.module, row.category), []).append(row)
    rows = [
        structs.replace(same[0], time_s=sum(row.time_s for row in same) / len(rounds))
        for same in alike.values()
    ]
    terms = zip(*(structs.astuple(each.waterfall) for each in rounds), strict=True)
    shares = zip(*(structs.astuple(each.utilisation) for each in rounds), strict=True)
    return structs.replace(
        first,
        round=rounds[-1].round,
        rows=rows,
        waterfall=Waterfall(*(statistics.fmean(values) for values in terms)),
        utilisation=Utilisation(*map(mean_of_known, shares)),
        plain_samples_s=[sample for each in rounds for sample in each.plain_samples_s],
        profiled_samples_s=[sample for each in rounds for sample in each.profiled_samples_s],
        events=round(statistics.fmean(each.events for each in rounds)),
        warnings=_residual_warnings(rounds),
    )


def _residual_warnings(rounds: Sequence[Profile]) -> list[str]:
    """A warning if single processes do not add up: residuals may cancel in the mean."""
    shares = [100 * each.waterfall.residual_s / each.waterfall.plain_s for each in rounds]
    beyond = sum(not adds_up(each.waterfall) for each in rounds)
    if not beyond or len(rounds) == 1:
        return []
    spread = f"residuals from {min(shares):+.1f} to {max(shares):+.1f} %"
    return [f"{beyond} of {len(rounds)} processes do not add up to 5 %: {spread}"]


def by_term(profile: Profile) -> dict[str, float]:
    """Seconds of each category and of each other term; their sum is the plain latency."""
    seconds = dict.fromkeys(TERMS, 0.0)
    for row in profile.rows:
        seconds[row.category] += row.time_s
    waterfall = profile.waterfall
    seconds[GAPS], seconds[SYNC] = waterfall.gaps_s, waterfall.sync_s
    seconds[RESIDUAL] = waterfall.residual_s
    return seconds


def difference(before: Sequence[Profile], after: Sequence[Profile]) -> list[Change]:
    """The change of each term from the rounds of one case to the rounds of another.

    Where both have profiles from the same round of the same run, only these count. The largest
    change comes first and the change of the latency last; the others add up to it.
    """
    if pairs := together(before, after):
        before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    ours, theirs = by_term(mean_of_rounds(before)), by_term(mean_of_rounds(after))
    changes = [
        Change(term, ours[term], theirs[term], _within_s(pairs, term))
        for term in TERMS
        if ours[term] or theirs[term]
    ]
    changes.sort(key=lambda change: -abs(change.seconds))
    total = Change(LATENCY, sum(ours.values()), sum(theirs.values()), _within_s(pairs, LATENCY))
    return [*changes, total]


def together(before: Sequence[Profile], after: Sequence[Profile]) -> list[tuple[Profile, Profile]]:
    """Pairs of profiles from the same round of the same run."""
    later = {(each.run_id, each.round): each for each in after}
    keys = [(each.run_id, each.round) for each in before]
    return [(one, later[key]) for one, key in zip(before, keys, strict=True) if key in later]


def _within_s(pairs: Sequence[tuple[Profile, Profile]], term: str) -> float | None:
    """Half the width of the 95 % interval of the change of `term`."""
    changes = [_seconds_of(theirs, term) - _seconds_of(ours, term) for ours, theirs in pairs]
    interval = mean_interval(changes)
    return None if interval is None else (interval.high - interval.low) / 2


def _seconds_of(profile: Profile, term: str) -> float:
    return profile.waterfall.plain_s if term == LATENCY else by_term(profile)[term]


def largest(profile: Profile, count: int) -> list[ProfileRow]:
    """The `count` rows with the largest `time_s`, the largest first."""
    return sorted(profile.rows, key=lambda row: -row.time_s)[:count]


def roofline_share(row: ProfileRow, peaks: Peaks | None) -> float | None:
    """Share of the roofline: (macs / time_s) / min(peak MAC/s, peak byte/s * macs / bytes).

    None if the MACs, the bytes or the peaks are not known. Above 1 if data stayed in a cache.
    """
    if peaks is None or not row.macs or not row.bytes or not row.time_s:
        return None
    attainable = min(peaks.macs_per_s, peaks.bytes_per_s * row.macs / row.bytes)
    return row.macs / row.time_s / attainable


def doubts(profile: Profile) -> list[str]:
    """Reasons to doubt the breakdown, as sentences."""
    waterfall = profile.waterfall
    if adds_up(waterfall):
        return profile.warnings
    share = waterfall.residual_s / waterfall.plain_s
    mean = f"the terms do not add up: the residual is {100 * share:+.1f} % of the latency"
    return [mean, *profile.warnings]

"""The neighbours by latency in a table that are not told apart, and what would decide."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bench.analysis.ratio import Comparison, compare, with_more_rounds
from bench.models import naming
from bench.report.tables.layouts import LATENCY_BATCH, Shown

HUNDREDS = "hundreds of rounds"
OF_KINDS = "kinds of processes, by their page faults, have different orders"


def line(shown: Shown) -> Iterator[str]:
    """A line with the pairs on one device, the faster network first; nothing without a pair."""
    pairs = list(_open(shown))
    if pairs:
        yield (
            f"Neighbours by latency that are not told apart on {shown.name}: {'; '.join(pairs)}. "
            "In brackets: the ratio, its 95 % interval, and what would probably decide."
        )


def _open(shown: Shown) -> Iterator[str]:
    rows = [row for row in shown.rows.values() if row.rank and row.case.batch == LATENCY_BATCH]
    rows.sort(key=lambda row: row.typical_s or 0.0)
    for fast, slow in itertools.pairwise(rows):
        found = with_more_rounds(compare(fast.rounds, slow.rounds))
        if not found.told_apart:
            names = " and ".join(naming.title(row.case) for row in (fast, slow))
            yield f"{names} ({_why(found)})"


def _why(found: Comparison) -> str:
    if found.ratio is None:
        return found.note
    point, low, high = (f"{value:.2f}" for value in found.ratio)
    ratio = f"{point}, {low} to {high}"
    if found.finding == "SAME":
        return f"{ratio}; tied within {100 * found.margin:g} %"
    if not found.kinds_agree:
        return f"{ratio}; {OF_KINDS}"
    if not found.may_be_decided:
        return f"{ratio}; {found.note}"
    more = found.more_rounds
    return f"{ratio}; {HUNDREDS if more is None else f'{more} more rounds'}"

"""Twins: cases that differ in name only. Their true ratio is 1, so they test the measurement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bench.analysis import ratio
from bench.analysis.ratio import Comparison
from bench.analysis.rows import Row
from bench.analysis.stats import FEWEST_PROCESSES


def twins(rows: Sequence[Row]) -> list[Comparison]:
    """Compare all pairs of twins among `rows`, in their order; INVALID and failed rows have none.

    Twins have the same environment and setting, and networks with the same structural hash. A pair
    that took turns in too few rounds for an interval is left out.
    """
    pairs = (
        ratio.compare(base.rounds, candidate.rounds)
        for alike in groups(rows)
        for base, candidate in itertools.combinations(alike, 2)
    )
    return [each for each in pairs if each.rounds >= FEWEST_PROCESSES]


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows that are each other's twins, in their order; a group has at least two."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.failure is None and row.verdict and not row.is_invalid:
            key = (row.environment.environment_id, row.case.setting, row.rounds[0].structure)
            found.setdefault(key, []).append(row)
    return [alike for alike in found.values() if len(alike) > 1]


def were_told_apart(pairs: Sequence[Comparison]) -> list[Comparison]:
    """The pairs that were found FASTER or SLOWER, which is a false alarm."""
    return [each for each in pairs if each.told_apart]

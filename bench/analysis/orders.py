"""How similarly two settings order the same networks: Kendall's tau, from pairwise findings.

Kendall (1938), "A New Measure of Rank Correlation", Biometrika 30, 81-93.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.ratio import compare
from bench.analysis.rows import Row


class Agreement(NamedTuple):
    """Kendall's tau of two orders, and the pairs of networks that have opposite orders.

    tau = (pairs in the same order - pairs in opposite orders) / all pairs: 1 for equal orders, -1
    for opposite ones. `tau` takes each pair as measured. `lowest` and `highest` take each pair that
    one of the settings does not tell apart as opposite, and as alike. `opposite` are the pairs that
    both settings tell apart, in opposite orders. Each pair is judged alone with 95 % confidence, so
    the ends are no interval of tau.
    """

    tau: float
    lowest: float
    highest: float
    opposite: list[tuple[int, int]]


class _Order(NamedTuple):
    """Which of two networks is faster: 1 the first, -1 the second. `found`: 0 if not told apart."""

    measured: int
    found: int


def agreement(first: Sequence[Row], second: Sequence[Row]) -> Agreement | None:
    """Compare the orders of the same networks in two settings; None for fewer than two."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    if not pairs:
        return None
    orders = [[_order(rows[i], rows[j]) for rows in (first, second)] for i, j in pairs]
    measured = sum(one.measured * two.measured for one, two in orders)
    found = [one.found * two.found for one, two in orders]
    low, high = ((sum(found) + sign * found.count(0)) / len(pairs) for sign in (-1, 1))
    opposite = [pair for pair, sign in zip(pairs, found, strict=True) if sign < 0]
    return Agreement(measured / len(pairs), low, high, opposite)


def _order(first: Row, second: Row) -> _Order:
    found = compare(first.rounds, second.rounds)
    measured = 1 if found.candidate_s > found.base_s else -1
    return _Order(measured, measured if found.told_apart else 0)

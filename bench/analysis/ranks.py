"""Ranks from pairwise findings: the places that a row can have in the order by speed.

This is the interval of ranks of Al Mohamad, Goeman and van Zwet (2022), "Simultaneous confidence
intervals for ranks with application to ranking institutions", Biometrics 78, 238-247.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Rank(NamedTuple):
    """The first and the last place that a row can have, from 1 for the fastest."""

    first: int
    last: int


def numbers(faster: Sequence[Sequence[bool]]) -> list[Rank]:
    """The rank of each row; `faster[i][j]`: row i was found faster than row j.

    Of n rows, a row has a place from 1 + (rows found faster than it) to n - (rows that it was found
    faster than). Findings may contradict each other: i faster than k, k faster than j, but i and j
    not told apart. A row's first place is then at most the last place of each row that was not
    found faster. So a rank is wholly above another only if the two rows are told apart, and each
    order of all rows that agrees with the findings gives each row a place within its rank.
    """
    rows = range(len(faster))
    last = [len(faster) - sum(faster[row]) for row in rows]
    return [
        Rank(
            min(
                1 + sum(faster[other][row] for other in rows),
                *(last[other] for other in rows if not faster[other][row]),
            ),
            last[row],
        )
        for row in rows
    ]


def text(rank: Rank | None) -> str:
    """`3` or `2–4`; "" for None."""
    if rank is None:
        return ""
    return "–".join(dict.fromkeys(map(str, rank)))

"""Ranks from pairwise findings: rows share a number if and only if they are not told apart.

This is a compact letter display with numbers for letters: Piepho (2004), "An algorithm for a
letter-based representation of all-pairwise comparisons", J. Comput. Graph. Stat. 13, 456-466.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Group = tuple[int, ...]  # places in order of speed, from 0


def numbers(apart: Sequence[Sequence[bool]]) -> list[tuple[int, ...]]:
    """The ranks of rows in order of speed; `apart[i][j]`: rows i and j are told apart.

    The rows of a group are not told apart from each other, and the groups hold each such pair. A
    group's number is its position by (fastest, slowest) member. Each row has the numbers of its
    groups, in ascending order. A row is never wholly above a faster row that it is told apart from.
    """
    groups = _groups(apart)
    ranks = _ranks(groups, len(apart))
    pairs = itertools.combinations(range(len(apart)), 2)
    late = {j for i, j in pairs if apart[i][j] and ranks[j][-1] < ranks[i][0]}
    return _ranks([*groups, *((place,) for place in late)], len(apart)) if late else ranks


def text(rank: Sequence[int]) -> str:
    """`3`, `2–4` or `2, 4–6`; "" for no number. `rank` is in ascending order."""
    runs: list[list[int]] = []
    for number in rank:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _groups(apart: Sequence[Sequence[bool]]) -> list[Group]:
    """Groups without a pair that is told apart, which hold all other pairs and every row."""
    found: list[Group] = []
    held: set[tuple[int, int]] = set()
    for pair in itertools.combinations(range(len(apart)), 2):
        if apart[pair[0]][pair[1]] or pair in held:
            continue
        members = list(pair)
        for place in range(len(apart)):
            if place not in members and not any(apart[place][other] for other in members):
                members.append(place)
        found.append(tuple(sorted(members)))
        held.update(itertools.combinations(found[-1], 2))
    grouped = set(itertools.chain(*found))
    return [*found, *((place,) for place in range(len(apart)) if place not in grouped)]


def _ranks(groups: Sequence[Group], count: int) -> list[tuple[int, ...]]:
    ordered = sorted(groups, key=lambda group: (group[0], group[-1], group))
    return [
        tuple(number for number, group in enumerate(ordered, 1) if place in group)
        for place in range(count)
    ]

"""The answers at the top of the page: which cases are the fastest, and which are accurate as well.

Cases answer only within a group: the same device in its latest environment, and the same batch,
size of an image, allocator and huge pages.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.analysis.rows import Row
from bench.models import naming
from bench.paper.accuracy import IMAGENET, Accuracy
from bench.report.devices import DeviceResults

# A case is accurate if its top-1 is at most so many percentage points below the best of its group.
ACCURATE_WITHIN = 1.0


class Winner(msgspec.Struct, frozen=True):
    """The fastest case of a question. `ties` are cases that statistics cannot tell from it.

    Times are in seconds, `top1` in per cent; None for what is not known.
    """

    name: str
    seconds: float
    low: float | None
    high: float | None
    top1: float | None
    verdict: str | None
    ties: list[str]


class Answer(msgspec.Struct, frozen=True):
    """The answers of one group. `device` is the number of the device in the report.

    `allocation` names allocator and huge pages, where they are not the default.
    `accurate` is the fastest case with a top-1 of at least `least_top1` per cent; None where fewer
    than two cases have a known top-1.
    """

    device: int
    batch: int
    size: str
    allocation: str
    cases: int
    fastest: Winner
    accurate: Winner | None
    least_top1: float | None


def answers(devices: Sequence[DeviceResults]) -> list[Answer]:
    """The answers for each group of at least two measured cases.

    The smallest batch comes first; of one batch, the group with the most cases.

    INVALID rows, which have no rank, are left out. `devices` are in the order of the page.
    """
    found = []
    for number, device in enumerate(devices):
        groups: dict[tuple[object, ...], list[Row]] = {}
        for row in device.rows if device.latest else ():
            if row.rank:
                groups.setdefault(row.case.ranked_with, []).append(row)
        found += [
            _answer(number, sorted(rows, key=_seconds))
            for rows in sorted(groups.values(), key=lambda rows: (rows[0].case.batch, -len(rows)))
            if len(rows) > 1
        ]
    return found


def _answer(device: int, rows: Sequence[Row]) -> Answer:
    """The answer of one group; `rows` are sorted by latency."""
    known = [(row, top1) for row in rows if (top1 := _top1(row)) is not None]
    least = max(top1 for _, top1 in known) - ACCURATE_WITHIN if len(known) > 1 else None
    accurate = [row for row, top1 in known if least is not None and top1 >= least]
    case = rows[0].case
    return Answer(
        device=device,
        batch=case.batch,
        size=naming.size(case),
        allocation=naming.allocation(case),
        cases=len(rows),
        fastest=_winner(rows),
        accurate=_winner(accurate) if accurate else None,
        least_top1=least,
    )


def _winner(rows: Sequence[Row]) -> Winner:
    """The first of `rows`, and those of the others that are not told apart from it."""
    first, *others = rows
    return Winner(
        name=naming.title(first.case),
        seconds=_seconds(first),
        low=first.interval.low if first.interval else None,
        high=first.interval.high if first.interval else None,
        top1=_top1(first),
        verdict=first.verdict.level if first.verdict else None,
        ties=[naming.title(row.case) for row in others if row.case.case_id in first.ties],
    )


def _seconds(row: Row) -> float:
    assert row.typical_s is not None
    return row.typical_s


def _top1(row: Row) -> float | None:
    """The top-1 on ImageNet-1K of weights that were trained on it alone; otherwise None."""
    known: Accuracy | None = row.accuracy(IMAGENET)
    return known.top1 if known and not known.more_data else None

"""The data for choosing a network on the page: figures of each row, groups, ties.

The page follows the rules of `bench.analysis.choose`, among the rows of one group: the same device
in its latest environment, and the same batch, size of an image, allocator and huge pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.choose.figures import LATENCY, QUANTITIES, TOP1, Quantity
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.models import naming
from bench.paper.accuracy import DATASETS, IMAGENET
from bench.report.devices import DeviceResults
from bench.report.page.columns import Json, column

Numbered = Sequence[tuple[int, Row]]
LEFT_OUT = ("p90", "p99")  # p95 is enough on a page


class Group(NamedTuple):
    """Rows that are compared, by their numbers on the page."""

    label: str
    rows: list[int]


def of(devices: Sequence[DeviceResults], rows: Numbered) -> Json:
    """Quantities with a figure for each of `rows`, groups of rows, and the ties of each row.

    `rows` are pairs of the number of a device and a row of it, in the order of the page.
    """
    found = _groups(devices, rows)
    chosen = [row for _, row in rows]
    return {
        "groups": [each._asdict() for each in found],
        "titles": column([title(row) for row in chosen]),
        "networks": column([row.case.model for row in chosen]),
        "quantities": [
            known
            for quantity, dataset in _quantities(chosen)
            if (known := _quantity(quantity, dataset, chosen))
        ],
        "ties": _ties(found, chosen),
    }


def title(row: Row) -> str:
    """The title of a case, with † if it is SUSPECT."""
    is_suspect = row.verdict is not None and row.verdict.level == "SUSPECT"
    return naming.title(row.case) + " †" * is_suspect


def _groups(devices: Sequence[DeviceResults], rows: Numbered) -> list[Group]:
    """Groups of at least two networks of which a latency is known, the smallest batch first."""
    members: dict[tuple[object, ...], list[int]] = {}
    for place, (number, row) in enumerate(rows):
        if devices[number].latest and row.case.is_tight:
            members.setdefault((number, *row.case.ranked_with), []).append(place)
    groups = sorted(members.items(), key=lambda each: rows[each[1][0]][1].case.batch)
    return [
        Group(_label(devices, rows[places[0]]), places)
        for _, places in groups
        if len({rows[place][1].case.model for place in places}) > 1
        and any(LATENCY.of(rows[place][1], IMAGENET).point is not None for place in places)
    ]


def _label(devices: Sequence[DeviceResults], numbered: tuple[int, Row]) -> str:
    number, row = numbered
    words = (f"batch {row.case.batch}", naming.size(row.case), naming.allocation(row.case))
    return ", ".join(filter(None, (devices[number].label, *words)))


def _quantities(rows: Sequence[Row]) -> list[tuple[Quantity, str]]:
    """Each quantity with a data set; the top-1 with every one that is known, ImageNet first."""
    datasets = {each.dataset for row in rows for each in row.accuracies}
    found = []
    for quantity in QUANTITIES.values():
        if quantity is TOP1:
            ordered = sorted(datasets, key=lambda name: (name != IMAGENET, name))
            found += [(quantity, name) for name in ordered]
        elif quantity.name not in LEFT_OUT:
            found.append((quantity, IMAGENET))
    return found


def _quantity(quantity: Quantity, dataset: str, rows: Sequence[Row]) -> Json | None:
    """The figures of a quantity; None if it is known of no row. An infinite end is None."""
    figures = [quantity.of(row, dataset) for row in rows]
    if all(each.point is None for each in figures):
        return None
    is_top1 = quantity is TOP1
    return {
        "name": f"{quantity.name}-{dataset}" if is_top1 else quantity.name,
        "title": f"top-1 on {DATASETS.get(dataset, dataset)}" if is_top1 else quantity.title,
        "unit": quantity.unit,
        "scale": quantity.scale,
        "at_least": quantity.at_least,
        "is_limit": bool(quantity.flag),
        "points": column([each.point for each in figures]),
        "lows": column([each.low for each in figures]),
        "highs": column([each.high for each in figures]),
        "missing": column([each.missing or None for each in figures]),
        "never": column([each.is_never for each in figures]),
        "rough": column([each.is_rough for each in figures]),
    }


def _ties(groups: Sequence[Group], rows: Sequence[Row]) -> list[list[int]]:
    """For each row, the slower rows of its group that are not told apart from it."""
    found: list[list[int]] = [[] for _ in rows]
    for group in groups:
        by_id = {rows[place].case.case_id: place for place in group.rows}
        for place in group.rows:
            tied = (by_id[each] for each in rows[place].ties if each in by_id)
            slower = sorted(n for n in tied if _seconds(rows[n]) >= _seconds(rows[place]))
            found[place] = [n for n in slower if _is_compared(rows[place], rows[n])]
    return found


def _is_compared(one: Row, other: Row) -> bool:
    """Whether there is an interval of their ratio; too few processes have none."""
    return compare(one.rounds, other.rounds).ratio is not None


def _seconds(row: Row) -> float:
    return row.typical_s or 0.0

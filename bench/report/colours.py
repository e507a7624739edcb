"""The colour and the line style of a family of networks, the same in all figures and on the page.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from bench.models import naming
from bench.report.devices import DeviceResults

Line = Literal["solid", "dashed", "dotted"]

# Found by a search for colours that stay apart: with full colour vision CIEDE2000 >= 23 between any
# two; with deuteranopia or protanopia (Machado, Oliveira and Fernandes, 2009) >= 14.
COLOURS = (
    "#0066cc",
    "#c0562a",
    "#00aa88",
    "#662244",
    "#ccaa00",
    "#0000aa",
    "#9999ee",
    "#004400",
)
# Neighbours in the list of families differ in both. The numbers of colours and of line styles have
# no common divisor, so a pair of them occurs again only after 24 families.
LINES: tuple[Line, ...] = ("solid", "dashed", "dotted")


def colour_of(family: str, families: Sequence[str]) -> str:
    """The colour (`#rrggbb`) of a family; `families` are all families of the report, in order.

    Raises ValueError if `family` is not one of them.
    """
    return COLOURS[families.index(family) % len(COLOURS)]


def line_of(family: str, families: Sequence[str]) -> Line:
    """The line style of a family; `families` are all families of the report, in order.

    Raises ValueError if `family` is not one of them.
    """
    return LINES[families.index(family) % len(LINES)]


def families_of(devices: Iterable[DeviceResults]) -> tuple[str, ...]:
    """The families of all networks on these devices, in the order in which they take colours.

    The order is that of their best top-1 on ImageNet-1K: families next to each other in Figure 1
    differ most. Families without a known accuracy come last, in the order of the records.
    """
    best: dict[str, float] = {}
    for device in devices:
        for row in device.every:
            family, known = naming.family(row.case).name, row.accuracy()
            best[family] = max(best.get(family, 0.0), known.top1 if known else 0.0)
    return tuple(sorted(best, key=lambda family: -best[family]))


def shared(every: Sequence[DeviceResults]) -> list[DeviceResults]:
    """The same devices, each with the families of all: a family has one colour in the report."""
    families = families_of(every)
    return [msgspec.structs.replace(each, families=families) for each in every]


def known_families(devices: Sequence[DeviceResults]) -> tuple[str, ...]:
    """The families of the report that `devices` are from; of `devices` alone if it is not known."""
    return next((each.families for each in devices if each.families), families_of(devices))

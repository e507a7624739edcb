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

# Found by a search for colours that stay apart: with full colour vision CIEDE2000 >= 26 between any
# two; with deuteranopia or protanopia (Machado, Oliveira and Fernandes, 2009) >= 14.
COLOURS = (
    "#0066cc",
    "#c0562a",
    "#00aa88",
    "#662244",
    "#ccaa00",
    "#0000aa",
    "#aaaaee",
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

    Families with a known accuracy on ImageNet-1K come first, because Figure 1 draws only these; of
    these, families with many networks, because these have lines; else the order of the records.
    """
    networks: dict[str, set[str]] = {}
    drawn: set[str] = set()
    for device in devices:
        for row in device.rows:
            family = naming.family(row.case.model).name
            networks.setdefault(family, set()).add(row.case.model)
            if row.accuracy():
                drawn.add(family)
    return tuple(sorted(networks, key=lambda each: (each not in drawn, -len(networks[each]))))


def shared(every: Sequence[DeviceResults]) -> list[DeviceResults]:
    """The same devices, each with the families of all: a family has one colour in the report."""
    families = families_of(every)
    return [msgspec.structs.replace(each, families=families) for each in every]


def known_families(devices: Sequence[DeviceResults]) -> tuple[str, ...]:
    """The families of the report that `devices` are from; of `devices` alone if it is not known."""
    return next((each.families for each in devices if each.families), families_of(devices))

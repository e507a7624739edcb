"""Models that installed packages offer, as entry points of the group `bench.models`."""

from __future__ import annotations

from importlib import metadata

from bench.models import zoo
from bench.records import Source
from bench.text import brief

GROUP = "bench.models"


def entry_points() -> dict[str, Source]:
    """Return the models that installed packages offer, by name.

    Names of the zoo are ignored, so no package can replace a model of the paper. A package whose
    entry points are malformed offers nothing: `unreadable_packages` names it.
    """
    offered = _read()[0]
    return {
        name: source for name, source in offered.items() if name not in zoo.ZOO and "/" not in name
    }


def unreadable_packages() -> list[str]:
    """Return a sentence on each package whose entry points are malformed."""
    return _read()[1]


def _read() -> tuple[dict[str, Source], list[str]]:
    """Return the models by name, and a sentence on each package with malformed entry points.

    Python reads the files of all packages at once, and one malformed file ends that with an error
    of any type. Only then are the packages read one by one.
    """
    try:
        return _sources(metadata.entry_points(group=GROUP)), []
    except Exception:
        offered: dict[str, Source] = {}
        unreadable = []
        for package in metadata.distributions():
            try:
                offered |= _sources(package.entry_points.select(group=GROUP))
            except Exception as error:
                unreadable.append(
                    f"the package {_name_of(package)} offers no models, because its "
                    f"entry_points.txt is malformed ({brief(error)}); install it anew"
                )
        return offered, unreadable


def _sources(points: metadata.EntryPoints) -> dict[str, Source]:
    """Return where the models are. Raises an error if a point names no module or no function."""
    for point in points:
        if not point.attr:
            raise ValueError(f"{point.name} names no function")
    return {point.name: Source(module=point.module, factory=point.attr) for point in points}


def _name_of(package: metadata.Distribution) -> str:
    try:
        return str(package.metadata["Name"])
    except Exception:  # its METADATA may be malformed, too
        return "of an unknown name"

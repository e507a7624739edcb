"""The packages of a runtime: their versions, and how to install them. It imports none of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import metadata, util

from bench.devices.installation import pip_install
from bench.text import version_numbers


@functools.cache
def version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lacking(oldest: Mapping[str, str]) -> str | None:
    """Return what is missing or too old, with the remedy; None if nothing.

    `oldest` has the oldest version of each package, which has the name of its module.
    """
    if absent := [name for name in oldest if util.find_spec(name) is None]:
        return f"no {', '.join(absent)}: {pip_install()} {' '.join(absent)}"
    return next((said for each in oldest.items() if (said := too_old(*each))), None)


def too_old(package: str, oldest: str) -> str | None:
    """Return that an installed package is older than `oldest`, with the remedy; else None."""
    found = version(package)
    if found is None or version_numbers(found) >= version_numbers(oldest):
        return None
    return f"{package} {found} is too old: install {package} {oldest} or newer"

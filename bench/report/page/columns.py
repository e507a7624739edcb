"""Columns of the page's data: numbers with few digits, and each string listed once."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = 6

Json = dict[str, object]


def columns(lines: Sequence[Json]) -> Json:
    """The columns of lines that all have the same keys."""
    return {key: column([line[key] for line in lines]) for key in lines[0]} if lines else {}


def column(values: Sequence[object]) -> object:
    """Numbers unchanged; strings as `values`, each once, and `at`, the index of each row."""
    if not any(isinstance(value, str) for value in values):
        return [rounded(value) for value in values]
    place: dict[object, int] = {}
    at = [None if value is None else place.setdefault(value, len(place)) for value in values]
    return {"values": list(place), "at": at}


def rounded(value: object) -> object:
    """A float with the digits of the CSV; nan and infinity become None."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None

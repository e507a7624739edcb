"""A benchmarking suite for vision backbones that knows which form of a network it timed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.2.0"


def load(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Read all cases on record below one or several folders of results: a row per case, SI units.

    The columns are those of `results.csv`; two more say the `slug` of the device and whether the
    case belongs to the device's `latest` environment. docs/notebooks.md shows examples. Lines
    that are not records are left out with a warning. Raises `bench.errors.UsageError` if nothing
    is on record.
    """
    from bench.report import frame

    return frame.load(paths)

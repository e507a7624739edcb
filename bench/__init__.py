"""A benchmarking suite for vision backbones that knows which form of a network it timed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.2.0"


def load(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Return all recorded cases below one or several folders of results, one row per case.

    The columns and SI units are the same as in `results.csv`. Two columns are added: `slug` names
    the device's folder; `latest` is True if the case belongs to the device's latest environment.
    Lines that are not records are skipped with a warning. docs/notebooks.md shows examples.
    Raises `bench.errors.UsageError` if the folders hold no records.
    """
    from bench.report import frame

    return frame.load(paths)

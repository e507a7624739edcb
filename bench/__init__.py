"""A benchmarking suite for vision backbones that knows which form of a network it timed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"


def load(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """All cases on record below one or several folders of results: one line a case, SI units.

    Columns are those of `results.csv`, with the device's `slug` first and whether the case is of
    its `latest` environment; docs/notebooks.md shows what to do with them. Lines that are no
    records are left out with a warning. Raises `bench.errors.UsageError` where there is nothing
    on record.
    """
    from bench.report import frame

    return frame.load(paths)

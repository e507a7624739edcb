"""What samples amount to. Statistics are derived from records each time, never stored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Summary(NamedTuple):
    """Of all timed iterations pooled over processes: seconds, and how many there were.

    `std` is the sample standard deviation (n - 1), nan of a single sample: the paper's "±".
    """

    mean: float
    std: float
    median: float
    samples: int
    processes: int


def summarise(processes: Sequence[Sequence[float]]) -> Summary:
    """Pool the samples of each process. Raises ValueError where there is none at all."""
    pooled = [sample for samples in processes for sample in samples]
    if not pooled:
        raise ValueError("no samples to summarise")
    return Summary(
        mean=statistics.fmean(pooled),
        std=statistics.stdev(pooled) if len(pooled) > 1 else math.nan,
        median=statistics.median(pooled),
        samples=len(pooled),
        processes=len(processes),
    )

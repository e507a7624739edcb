"""Judges the median of repeated readings; other work on the machine may make it undecidable."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.stats import Estimate, median_interval
from bench.diagnostics.hardware.line import Line, impossible, judged

FEWEST = 6  # readings; all on one side of the true median have a chance of 2 / 2^6
WIDEST = 0.1  # of the interval of a steady median, each way
BUSY = "stop other programs, and run the same command again"


def interval(readings: Sequence[float]) -> Estimate:
    """Return the median with an interval that holds the true median with at least 95 %.

    From 6 to 10 readings, it is their whole range.
    """
    found = median_interval(readings)
    return found or Estimate(statistics.median(readings), min(readings), max(readings))


def within(
    name: str,
    readings: Sequence[float],
    limits: tuple[float, float],
    *,
    seen: str,
    limit: str,
    why: str,
    raw: Mapping[str, Any],
) -> Line:
    """Judge whether the median of `readings` is within `limits`.

    NOT POSSIBLE if the interval of the median is wider than WIDEST, if the median is outside of
    the limits and the interval is not, or if there are too few readings.
    """
    low, high = limits
    if len(readings) < FEWEST:
        few = f"only {len(readings)} readings in the time of the line"
        return _undecided(name, few, seen, limit, raw)
    median, lowest, highest = interval(readings)
    outside = lowest > high or highest < low
    steady = max(median - lowest, highest - median) <= WIDEST
    if steady and (outside or low <= median <= high):
        return judged(name, not outside, seen=seen, limit=limit, why=why, raw=raw)
    varied = f"the readings vary too much, their median is between {lowest:.3g} and {highest:.3g}"
    return _undecided(name, varied, seen, limit, raw)


def _undecided(name: str, what: str, seen: str, limit: str, raw: Mapping[str, Any]) -> Line:
    return impossible(name, f"{what}: {BUSY}", raw, seen=seen, limit=limit, next_call="repeats")

"""What is known of one quantity of a case: a value with its interval, or the reason for none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.analysis import interval, stats
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models.naming import USUAL
from bench.records import Measurement
from bench.text import MEGA, significant

ROUGHLY = 2.0  # the factor within which a value without an interval is assumed to lie
BETTER_THAN_FP32 = 0.5  # percentage points by which the top-1 of another precision may be higher


class Figure(NamedTuple):
    """A value in SI units (top-1 in per cent) that lies between `low` and `high`.

    `point` is None where nothing is known; `missing` says why. With a point, `missing` says why the
    value may be lower than any, so that only `high` counts. The ends are equal where the value is
    exact. `is_rough`: they are no interval, but a factor of ROUGHLY, since there are too few
    processes. `source` says where an accuracy comes from. `is_never`: no measurement on this device
    can tell the value.
    """

    point: float | None
    low: float = -math.inf
    high: float = math.inf
    missing: str = ""
    source: str = ""
    is_rough: bool = False
    is_never: bool = False


class Quantity(NamedTuple):
    """A quantity that a budget may limit.

    `flag` is the command line's, `title` the column of a table. A value in `unit` is the value in
    SI units divided by `scale`. `at_least`: a budget gives its smallest value, not its largest.
    `share` is the percentile of the iterations that it is, if it is a latency. `of` takes a row and
    the name of a data set.
    """

    name: str
    flag: str
    title: str
    unit: str
    scale: float
    of: Callable[[Row, str], Figure]
    at_least: bool = False
    share: float | None = None

    def text(self, value: float) -> str:
        """`20.3 ms`."""
        return f"{significant(value / self.scale)} {self.unit}"


def missing(why: str, *, is_never: bool = False) -> Figure:
    """A figure of which nothing is known."""
    return Figure(None, missing=why, is_never=is_never)


def _of_estimate(found: Estimate | None, point: float | None) -> Figure:
    """The figure of an estimate; without one, roughly that of the point."""
    if found:
        return Figure(*found)
    if point is None:
        return missing("nothing is on record")
    return Figure(point, point / ROUGHLY, point * ROUGHLY, is_rough=True)


def _timed(read: Callable[[Row], Figure]) -> Callable[[Row, str], Figure]:
    """What reads a row that was measured, and whose numbers count."""

    def of(row: Row, dataset: str) -> Figure:
        if row.failure:
            return missing(f"failed at {row.failure.stage}: {row.failure.error}")
        if row.verdict and row.is_invalid:
            return missing(f"the verdict is {row.verdict.text}")
        return read(row)

    return of


def _latency(row: Row) -> Figure:
    return _of_estimate(row.interval, row.typical_s)


def _percentile(share: float) -> Callable[[Row], Figure]:
    def of(row: Row) -> Figure:
        if any(record.calls_per_sample > 1 for record in row.rounds):
            return missing("calls are too short to be timed one by one", is_never=True)
        samples = [sample for record in row.rounds for sample in record.samples_s]
        point = stats.percentile(samples, share)
        if point is None:
            return missing(f"{len(samples)} iterations are too few for p{100 * share:.0f}")
        return _of_estimate(interval.of_percentile(row.rounds, share), point)

    return of


def _memory(row: Row) -> Figure:
    known = [b for r in row.rounds if (b := r.cost.peak_memory_bytes) is not None]
    if not known and any(record.artifact for record in row.rounds):
        return missing("the peak memory of an exported network is not known", is_never=True)
    if not known:
        return missing("the peak memory is not on record")
    return Figure(float(max(known)), float(min(known)), float(max(known)))


def _load(row: Row) -> Figure:
    seconds = [record.stages_s.load + record.stages_s.first for record in row.rounds]
    return _mean(seconds)


def _power(row: Row) -> Figure:
    """The mean of all samples of the steady loop, which a run has in one round of a case."""
    known = [watts for r in row.rounds if r.telemetry for watts in r.telemetry.power_w]
    return _mean(known) if known else _unseen(row.rounds, "power")


def _energy(row: Row) -> Figure:
    """Power times seconds per image, so its relative interval is that of the latency."""
    joules, latency = row.gpu.energy_per_image_j, _latency(row)
    if joules is None or latency.point is None:
        return _unseen(row.rounds, "energy")
    scale = joules / latency.point
    low, high = scale * latency.low, scale * latency.high
    return Figure(joules, low, high, is_rough=latency.is_rough)


def _unseen(rounds: Sequence[Measurement], name: str) -> Figure:
    reasons = [
        f"{sensor}: {why}"
        for record in rounds
        if record.telemetry
        for sensor, why in record.telemetry.missing.items()
        if sensor.startswith(name)
    ]
    why = reasons[0] if reasons else f"this device has no sensor of {name}"
    return missing(why, is_never=True)


def _mean(values: Sequence[float]) -> Figure:
    """The mean of values with its t interval, which never falls below 0."""
    found = stats.mean_interval(values)
    if found is None:
        return _of_estimate(None, statistics.fmean(values))
    return Figure(found.point, max(found.low, 0.0), found.high)


def _top1(row: Row, dataset: str) -> Figure:
    known = row.accuracy(dataset)
    if known is None:
        return missing(f"no top-1 on {dataset} at {row.case.resolution} pixels is known")
    if known.source in ("paper", "timm") and row.case.precision not in (USUAL.precision, "tf32"):
        why = f"its top-1 in {row.case.precision} is not known; in fp32 it is {known.top1:.1f} %"
        return Figure(known.top1, 0.0, known.top1 + BETTER_THAN_FP32, why, "of fp32")
    low = known.top1 if known.low is None else known.low
    high = known.top1 if known.high is None else known.high
    source = known.detail if known.source == "measured" else known.source
    return Figure(known.top1, low, high, source=source)


def _latency_at(name: str, share: float) -> Quantity:
    return Quantity(
        name, "--max-latency", name, "ms", 1e-3, _timed(_percentile(share)), share=share
    )


LATENCY = Quantity("latency", "--max-latency", "latency", "ms", 1e-3, _timed(_latency), share=0.5)
TOP1 = Quantity("top1", "--min-top1", "top-1", "%", 1.0, _top1, at_least=True)
ENERGY = Quantity("energy", "", "energy per image", "mJ", 1e-3, _timed(_energy))
QUANTITIES = {
    each.name: each
    for each in (
        LATENCY,
        *(_latency_at(f"p{percent}", percent / 100) for percent in (90, 95, 99)),
        TOP1,
        Quantity("memory", "--max-memory", "peak memory", "MB", MEGA, _timed(_memory)),
        Quantity("power", "--max-power", "power", "W", 1.0, _timed(_power)),
        Quantity("load", "--max-load", "load", "s", 1.0, _timed(_load)),
        ENERGY,
    )
}
OBJECTIVES = (LATENCY.name, TOP1.name, ENERGY.name)

"""`curves.md`: throughput over the batch size, knees and crossovers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.analysis import batch_curve
from bench.analysis.batch_curve import FEWEST, Crossover, Curve, crossover_text, knee_text
from bench.models import naming
from bench.report.devices import DeviceResults
from bench.report.figures.batch_curves import batch_curves
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import NOTHING, markdown, significant

HOW_TO_READ = """\
The *knee* is the smallest measured batch that reaches 90 % of the highest throughput; in \
brackets, the smallest that may reach it, and the smallest that certainly does, by the 95 % \
intervals. There is none while the throughput still rises by more than 5 % over the last two \
doublings. *Launch-bound*: up to this batch, twice the images take less than 1.41 times as long \
(an elasticity below 0.5), so most of the time is a cost of the call. *Compute-bound*: from this \
batch on, the elasticity is at least 0.9: the time grows with the images. A *crossover* lies \
between the last batch at which one network is found faster and the first at which the other is, \
both as `bench compare` finds it; the batch between them is interpolated. INVALID results do not \
count."""


def of_device(device: DeviceResults) -> list[Curve]:
    """The curves of a device, of networks with at least FEWEST batch sizes."""
    found = batch_curve.curves(device.rows)
    return [curve for curve in found if len(curve.spots) >= FEWEST]


def render(device: DeviceResults) -> dict[str, bytes]:
    """The page of a device; nothing unless a network was measured at FEWEST batch sizes."""
    found = of_device(device)
    if not found:
        return {}
    crossings = batch_curve.crossovers(found)
    parts = [
        f"# Throughput over the batch size on {markdown(device.label)}",
        describe(device.environment),
        to_markdown_table(_curves(found)),
    ]
    parts += [to_markdown_table(_crossovers(crossings))] if crossings else []
    return {"curves.md": ("\n\n".join([*parts, HOW_TO_READ]) + "\n").encode()}


def draw(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """The picture of the only device, by format; nothing without curves."""
    (device,) = devices
    found = of_device(device)
    return batch_curves(device, found, batch_curve.crossovers(found)) if found else {}


def _curves(found: Sequence[Curve]) -> pd.DataFrame:
    lines = []
    for curve in sorted(found, key=lambda each: -each.highest.throughput):
        sizes = ", ".join(str(spot.batch) for spot in curve.spots)
        failed = f"; failed at {curve.failed_at}" if curve.failed_at else ""
        failed += f"; INVALID at {', '.join(map(str, curve.invalid))}" if curve.invalid else ""
        lines.append(
            {
                "Model": markdown(naming.title(curve.case)),
                "Knee": knee_text(curve.knee) if curve.knee else NOTHING,
                "Highest (img/s)": significant(curve.highest.throughput),
                "at batch": str(curve.highest.batch),
                "Launch-bound to": str(curve.launch_bound_to or NOTHING),
                "Compute-bound from": str(curve.compute_bound_from or NOTHING),
                "Measured at": sizes + failed,
            }
        )
    return pd.DataFrame(lines)


def _crossovers(found: Sequence[Crossover]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Faster at small batches": markdown(naming.title(each.first)),
                "Faster at large batches": markdown(naming.title(each.second)),
                "Crossover at batch": crossover_text(each),
            }
            for each in found
        ]
    )

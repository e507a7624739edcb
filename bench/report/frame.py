"""Records as a pandas DataFrame: one row per case and environment, in SI units."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pandas as pd

from bench.analysis import ranks
from bench.analysis.kinds import faults_text
from bench.analysis.recorded import MEASURE_FIRST
from bench.analysis.rows import Row
from bench.errors import UsageError
from bench.records import Cost
from bench.report import devices
from bench.report.gather import gather
from bench.text import printable

REAL = ["latency_spread", "utilisation", "top1"]  # columns without a unit in their names


def load(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """All cases on record below one or several folders: the columns of `frame`, and two more.

    The first two columns are the device's `slug` and `latest`, True for the device's latest
    environment. Unreadable devices and lines are reported with `warnings.warn`. Raises UsageError
    if no case was measured.
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found, reading = gather([Path(path) for path in several])
    for text in [*reading.unreadable, *reading.warnings]:
        warnings.warn(printable(text), stacklevel=3)
    every = [each for folder, records in found.items() for each in devices.of(folder.slug, records)]
    rows = [row for each in every for row in each.every]
    if not rows:
        raise UsageError("profiles are on record, but no case was measured", MEASURE_FIRST)
    lines = frame(rows)
    lines.insert(0, "slug", [each.slug for each in every for _ in each.every])
    lines.insert(1, "latest", [each.latest for each in every for _ in each.every])
    return lines


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per row; a value that was not measured is `NaN`, `None` or `<NA>`, never 0."""
    lines = pd.DataFrame([_line(row) for row in rows])
    whole = [name for name in Cost.__struct_fields__ if name != "uncounted"]
    real = [name for name in lines if name.endswith(("_s", "_w", "_j"))] + REAL
    return lines.astype({**dict.fromkeys(real, "float64"), **dict.fromkeys(whole, "Int64")})


def _line(row: Row) -> dict[str, object]:
    known = row.accuracy()
    return {
        **{field: getattr(row.case, field) for field in row.case.__struct_fields__},
        "chip": row.chip.name,
        "latency_s": row.typical_s,
        "latency_low_s": row.interval.low if row.interval else None,
        "latency_high_s": row.interval.high if row.interval else None,
        "latency_spread": row.spread,
        "latency_mean_s": row.summary.mean if row.summary else None,
        "latency_std_s": row.summary.std if row.summary else None,
        "latency_median_s": row.summary.median if row.summary else None,
        **{f"latency_{name}_s": value for name, value in row.tail._asdict().items()},
        "throughput_img_s": row.throughput,
        "rank": ranks.text(row.rank) or None,
        "verdict": row.verdict.level if row.verdict else None,
        "doubts": "; ".join(r.text for r in row.verdict.reasons) if row.verdict else None,
        "samples": row.summary.samples if row.summary else 0,
        "processes": row.summary.processes if row.summary else 0,
        "page_faults": faults_text(row.kinds) or None,
        "stopped_by": row.stopped_by,
        **msgspec.structs.asdict(row.cost or Cost()),
        **row.gpu._asdict(),
        "top1": known.top1 if known else None,
        "top1_source": f"{known.source}: {known.detail}" if known else None,
        "failed_at": row.failure.stage if row.failure else None,
        "failure": f"{row.failure.error}: {row.failure.message}" if row.failure else None,
        "warnings": "; ".join(row.warnings),
        "case_id": row.case.case_id,
        "environment_id": row.environment.environment_id,
    }

"""Tables in Markdown and CSV. Units stand in the headings; reported and measured never mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from bench import paper
from bench.records import Case, Cost
from bench.report.markdown import describe, to_markdown_table
from bench.report.rows import Row
from bench.text import (
    GIGA,
    MEGA,
    NOT_MEASURED,
    NOTHING,
    display,
    in_unit,
    markdown,
    plus_minus,
    significant,
)

CSV_DIGITS = 6
# The paper's devices in Table 6: column, kind of chip, what it was, its name in the data.
TABLE6_DEVICES = (
    ("CPU", "cpu", "Xeon 8260", "xeon_8260"),
    ("GPU", "gpu", "A100", "a100"),
    ("Edge", "edge", "Jetson Orin", "orin"),
)
TABLE6_NOTE = (
    "Latency (Lat.) is in milliseconds at batch 1, mean ± standard deviation of all timed "
    "iterations; throughput (Thr.) is in images per second at batch 128: 128 / median. MACs are "
    'multiply-accumulates of one image, the paper\'s "FLOPs". Columns that say *paper* are the '
    "paper's numbers, the others are measured here. The paper's A100 throughput of "
    "RepNeXt-u3-T-rRep is that of its fully connected variant, `rrep_fc`."
)


def table6_csv(rows: Sequence[Row]) -> str:
    """Table 6 with reported and measured columns, the spread in a column of its own."""
    lines = [{cell.key: _short(cell.value) for cell in line} for line in _table6_lines(rows)]
    return str(pd.DataFrame(lines).to_csv(index=False, lineterminator="\n"))


def table6_markdown(rows: Sequence[Row]) -> str:
    """Table 6 with reported and measured columns, what was measured on, and how to read it."""
    environment = rows[0].environment
    lines = [{c.heading: c.text for c in line if c.heading} for line in _table6_lines(rows)]
    parts = [
        f"# Table 6 on {markdown(environment.chip.name)}",
        describe(environment),
        to_markdown_table(pd.DataFrame(lines)),
        TABLE6_NOTE,
    ]
    return "\n\n".join(parts) + "\n"


class _Cell(NamedTuple):
    """A cell with its heading, as Markdown shows it and as CSV keeps it."""

    heading: str
    text: str
    key: str
    value: str | float | None


def _table6_lines(rows: Sequence[Row]) -> list[list[_Cell]]:
    """The paper's rows and columns; ours beside its numbers, in columns of their own."""
    reported = [r for r in paper.reported() if (r.table, r.device) == (6, "xeon_8260")]
    return [_table6_line(rows, line) for line in reported]


def _table6_line(rows: Sequence[Row], line: paper.Reported) -> list[_Cell]:
    latency, throughput = (_measured(rows, line.model, line.form, batch) for batch in (1, 128))
    cost = next((row.cost for row in (latency, throughput) if row and row.cost), Cost())
    params, gmacs = in_unit(MEGA, cost.params), in_unit(GIGA, cost.macs)
    cells = [
        _Cell("Model", display(line.model, line.form), "model", line.model),
        _Cell("Form", line.form, "form", line.form),
        _Cell("Params (M), paper", _g(line.params_m), "params_m_paper", line.params_m),
        _Cell("Params (M)", significant(params, 4), "params_m", params),
        _Cell("MACs (G), paper", _g(line.gmacs), "gmacs_paper", line.gmacs),
        _Cell("MACs (G)", significant(gmacs), "gmacs", gmacs),
    ]
    chip = rows[0].chip
    setting = f"{chip.name}, {_threads(rows)} threads" if chip.kind == "cpu" else chip.name
    for label, kind, paper_chip, device in TABLE6_DEVICES:
        theirs = paper.find(6, device, line.model, line.form)
        ours = (latency, throughput) if kind == chip.kind else None
        cells += _reported_cells(label, paper_chip, theirs)
        cells += _measured_cells(label, setting if ours else "ours", ours)
    if not chip.kind:
        cells += _measured_cells(chip.name, "scripted", (latency, throughput))
    return [*cells, _Cell("Top-1 (%), paper", _g(line.top1), "top1_paper", line.top1)]


def _reported_cells(label: str, chip: str, theirs: paper.Reported | None) -> list[_Cell]:
    latency = theirs.latency_ms if theirs else None
    throughput = theirs.throughput_img_s if theirs else None
    key = label.lower()
    return [
        _Cell(f"{label} Lat., paper ({chip})", _g(latency), f"{key}_latency_ms_paper", latency),
        _Cell(f"{label} Thr., paper ({chip})", _g(throughput), f"{key}_img_s_paper", throughput),
    ]


def _measured_cells(
    label: str, chip: str, ours: tuple[Row | None, Row | None] | None
) -> list[_Cell]:
    latency, throughput = ours or (None, None)
    timed = latency.summary if latency else None
    missing = _why_missing(latency)
    lat_text = plus_minus(timed.mean * 1e3, timed.std * 1e3) if timed else missing
    speed = throughput.throughput if throughput else None
    thr_text = significant(speed) if speed else _why_missing(throughput)
    key = label.lower()
    return [
        _Cell(
            f"{label} Lat. ({markdown(chip)})",
            lat_text,
            f"{key}_latency_ms",
            timed.mean * 1e3 if timed else missing,
        ),
        _Cell("", "", f"{key}_latency_std_ms", timed.std * 1e3 if timed else None),
        _Cell(f"{label} Thr. ({markdown(chip)})", thr_text, f"{key}_img_s", speed or thr_text),
    ]


def _threads(rows: Sequence[Row]) -> int:
    """The number of threads of the rows that a table shows: that of the case measured last."""
    return rows[-1].case.threads


def _measured(rows: Sequence[Row], model: str, form: str, batch: int) -> Row | None:
    """The row that the paper's setting asks for: eager, fp32, 224 pixels; one thread count."""
    wanted = Case(
        model=model,
        form=form,
        batch=batch,
        device=rows[-1].case.device,
        threads=_threads(rows),
    )
    return next((row for row in rows if row.case == wanted), None)


def _why_missing(row: Row | None) -> str:
    return f"failed ({row.failure.stage})" if row and row.failure else NOT_MEASURED


def _short(value: str | float | None) -> str | float | None:
    return f"{value:.{CSV_DIGITS}g}" if isinstance(value, float) else value


def _g(value: float | None) -> str:
    """A number as the paper prints it."""
    return NOTHING if value is None else f"{value:g}"

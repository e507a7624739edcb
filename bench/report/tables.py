"""Tables in Markdown and CSV. Units stand in the headings; reported and measured never mix."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pandas as pd

from bench import paper
from bench.records import Case, Cost, Environment
from bench.report.rows import Row
from bench.text import (
    NOT_MEASURED,
    NOTHING,
    display,
    facts,
    markdown,
    milliseconds,
    plus_minus,
    significant,
)

GIGA, MEGA, MIB = 1e9, 1e6, 2**20
CSV_DIGITS = 6
TEXT_COLUMNS = (
    "Model",
    "Form",
    "Backend",
    "Precision",
    "Finding",
    "Verdict",
    "Claim",
    "Term",
    "Operator",
    "Module",
    "Category",
    "Bar",
    "Found",
)
OF_SOME_DEVICES = [
    "Device time (ms)",
    "Pipelined (img/s)",
    "GPU busy (%)",
    "Power (W)",
    "Energy (mJ/img)",
]

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


def results_csv(rows: Sequence[Row]) -> str:
    """Every case a line, raw numbers in SI units."""
    lines = [
        {
            **{field: getattr(row.case, field) for field in row.case.__struct_fields__},
            "chip": row.chip.name,
            "latency_mean_s": row.summary.mean if row.summary else None,
            "latency_std_s": row.summary.std if row.summary else None,
            "latency_median_s": row.summary.median if row.summary else None,
            "latency_low_s": row.interval.low if row.interval else None,
            "latency_high_s": row.interval.high if row.interval else None,
            "throughput_img_s": row.throughput,
            "rank": row.rank,
            "verdict": row.verdict.level if row.verdict else None,
            "doubts": "; ".join(r.seen for r in row.verdict.reasons) if row.verdict else None,
            "samples": row.summary.samples if row.summary else 0,
            "processes": row.summary.processes if row.summary else 0,
            "stopped_by": row.stopped_by,
            **msgspec.structs.asdict(row.cost or Cost()),
            **row.beside._asdict(),
            "top1_paper": row.top1,
            "failed_at": row.failure.stage if row.failure else None,
            "failure": f"{row.failure.error}: {row.failure.message}" if row.failure else None,
            "warnings": "; ".join(row.warnings),
            "case_id": row.case.case_id,
            "environment_id": row.environment.environment_id,
        }
        for row in rows
    ]
    frame = pd.DataFrame(lines)
    whole = ["rank", *Cost.__struct_fields__]
    frame[whole] = frame[whole].astype("Int64")
    return str(frame.to_csv(index=False, lineterminator="\n", float_format=f"%.{CSV_DIGITS}g"))


def results_markdown(rows: Sequence[Row]) -> str:
    """Every case a line, environment by environment and batch by batch; failures last."""
    parts = []
    for environment, group in itertools.groupby(rows, key=lambda row: row.environment):
        members = list(group)
        parts.append(f"# {markdown(environment.chip.name)}\n\n{describe(environment)}")
        members.sort(key=lambda row: row.case.group)
        for (_, batch, resolution), cases in itertools.groupby(members, lambda r: r.case.group):
            table = _without_empty(pd.DataFrame([_results_line(row) for row in cases]))
            parts.append(f"## Batch {batch} at {resolution}²\n\n{to_markdown_table(table)}")
        parts += [*_doubts(members), *_failures(members)]
    return "\n\n".join(parts) + "\n"


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that only some devices fill, where none of the rows does."""
    empty = [name for name in OF_SOME_DEVICES if (table[name] == NOTHING).all()]
    return table.drop(columns=empty)


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


def describe(environment: Environment) -> str:
    """What a page was measured on, in a sentence of Markdown."""
    text = facts({**environment.chip.facts, **environment.versions})
    text = text or "nothing is known of this environment"
    return markdown(f"Environment {environment.environment_id}: {text}.")


def _results_line(row: Row) -> dict[str, str]:
    case, summary, cost = row.case, row.summary, row.cost or Cost()
    failed = f"failed ({row.failure.stage})" if row.failure else NOTHING
    return {
        "Model": markdown(case.model),
        "Form": markdown(case.form),
        "Backend": case.backend,
        "Precision": case.precision,
        "Threads": str(case.threads),
        "Latency (ms)": plus_minus(summary.mean * 1e3, summary.std * 1e3) if summary else failed,
        "Median (ms)": significant(milliseconds(summary.median if summary else None)),
        "95 % interval (ms)": _interval(row),
        "Rank": str(row.rank or NOTHING),
        "Throughput (img/s)": significant(row.throughput),
        "Samples (processes)": f"{summary.samples} ({summary.processes})" if summary else NOTHING,
        "Params (M)": significant(_in(MEGA, cost.params), 4),
        "MACs (G)": significant(_in(GIGA, cost.macs)),
        "Peak memory (MiB)": significant(_in(MIB, cost.peak_memory_bytes)),
        "Device time (ms)": significant(milliseconds(row.beside.device_s)),
        "Pipelined (img/s)": significant(row.beside.pipelined_img_s),
        "GPU busy (%)": significant(_in(0.01, row.beside.utilisation)),
        "Power (W)": significant(row.beside.power_w),
        "Energy (mJ/img)": significant(_in(0.001, row.beside.energy_per_image_j)),
        "Top-1 (paper)": significant(row.top1),
        "Ended by": row.stopped_by or NOTHING,
        "Verdict": row.verdict.level if row.verdict else NOTHING,
    }


def _interval(row: Row) -> str:
    if row.interval is None:
        return NOTHING
    return " to ".join(significant(milliseconds(bound)) for bound in row.interval[1:])


def _in(unit: float, value: float | None) -> float | None:
    return None if value is None else value / unit


def _doubts(rows: Sequence[Row]) -> list[str]:
    lines = [
        f"- {markdown(row.case.name)}, batch {row.case.batch}: {markdown(row.verdict.text)}"
        for row in rows
        if row.verdict and row.verdict.reasons
    ]
    return ["## Doubts\n\n" + "\n".join(lines)] if lines else []


def _failures(rows: Sequence[Row]) -> list[str]:
    lines = [
        f"- {markdown(row.case.name)}, batch {row.case.batch}: failed at {row.failure.stage} "
        f"with {markdown(row.failure.error)}: {markdown(row.failure.message)}"
        for row in rows
        if row.failure
    ]
    return ["## Failures\n\n" + "\n".join(lines)] if lines else []


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
    params, gmacs = _in(MEGA, cost.params), _in(GIGA, cost.macs)
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


def to_markdown_table(frame: pd.DataFrame) -> str:
    """`frame` as Markdown; columns of numbers are set to the right."""
    right = [column not in TEXT_COLUMNS for column in frame]
    return str(
        frame.to_markdown(
            index=False,
            disable_numparse=True,
            colalign=["right" if flag else "left" for flag in right],
        )
    )

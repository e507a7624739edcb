"""The paper's Tables 2-6 with our numbers next to the paper's: Markdown, CSV, LaTeX.

Headings contain the units. Reported and measured numbers never share a column.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence

import pandas as pd

from bench.analysis import evaluations, ranks
from bench.analysis.rows import Row
from bench.models.forms import BRACKETS
from bench.records import Cost, Evaluation
from bench.report.devices import DeviceResults, by_allocation
from bench.report.tables import grid, latex
from bench.report.tables.csv import Value, to_csv
from bench.report.tables.grid import Cell, Grid
from bench.report.tables.layouts import (
    LATENCY_BATCH,
    LAYOUTS,
    THROUGHPUT_BATCH,
    Layout,
    Line,
    Shown,
    costs_of,
    evaluated,
    matching_rows,
    shown_of,
)
from bench.report.tables.markdown import to_markdown_table
from bench.text import GIGA, MEGA, NOT_MEASURED, in_unit, markdown

Field = tuple[str, Value]
NUMBERS = [layout.number for layout in LAYOUTS]


def measured_on(device: DeviceResults) -> list[int]:
    """The numbers of the tables in which the device has a row or an accuracy."""
    parts = by_allocation([device])
    return [
        layout.number
        for layout in LAYOUTS
        if any(matching_rows(part, layout) for part in parts) or evaluated(layout, parts)
    ]


def render(
    devices: Sequence[DeviceResults], only: Container[int] | None = None
) -> dict[str, bytes]:
    """`table2.md`, `table2.csv`, `table2.tex` to `table6.tex`, or only the numbers in `only`.

    A device without a row in a table gets no columns there; a note names it.
    """
    pages = {}
    for layout in LAYOUTS:
        if only is None or layout.number in only:
            shown = [found for device in devices if (found := shown_of(device, layout))]
            table = grid.build(layout, devices, shown)
            name = f"table{layout.number}"
            pages[f"{name}.md"] = _to_markdown(table).encode()
            measured = evaluated(layout, devices)
            costs = costs_of(layout, devices)
            pages[f"{name}.csv"] = _to_csv(layout, costs, shown, measured).encode()
            about = f"Table {layout.number} of the paper and our numbers"
            notes = [*table.footnotes, *table.notes]
            ours = latex.Table(name, f"{about}: {table.title}.", table.columns, notes)
            pages[f"{name}.tex"] = latex.document([ours], name, about).encode()
    return pages


def _to_markdown(table: Grid) -> str:
    """The title, the table, its footnotes and its notes."""
    cells = [[_cell(cell) for cell in column.cells] for column in table.columns]
    titles = [markdown(column.title) for column in table.columns]
    frame = pd.DataFrame(list(zip(*cells, strict=True)), columns=titles)
    parts = [f"# Table {table.number}: {table.title}", to_markdown_table(frame)]
    if table.footnotes:
        parts.append("\n".join(f"- {markdown(text)}" for text in table.footnotes))
    return "\n\n".join([*parts, *(markdown(text) for text in table.notes)]) + "\n"


def _cell(cell: Cell) -> str:
    text = ""
    for arrow, shown, marks in cell:
        part = markdown(shown) + marks
        if arrow == BRACKETS:
            text += f" ({part})"
        else:
            text += f" →{arrow} {part}" if arrow else part
    return text


def _to_csv(
    layout: Layout,
    costs: Mapping[tuple[str, str], Cost],
    shown: Sequence[Shown],
    measured: Mapping[str, Evaluation],
) -> str:
    """A line per model and form; cells that the paper's table does not have are empty."""
    lines = [
        {
            **dict(_csv_line(layout, costs.get((line.model, form), Cost()), shown, line, form)),
            **({"top1": _own_top1(measured.get(line.model))} if measured else {}),
        }
        for line in layout.lines
        for form in line.forms
    ]
    return to_csv(lines[0], (line.values() for line in lines))


def _own_top1(made: Evaluation | None) -> float | None:
    return None if made is None else in_unit(0.01, evaluations.top1(made).point)


def _csv_line(
    layout: Layout, cost: Cost, shown: Sequence[Shown], line: Line, form: str
) -> Iterator[Field]:
    reported = layout.reported(line.model, form)
    assert reported is not None
    yield from (("model", line.model), ("form", form))
    if not layout.ablation:
        yield from (("params_m_paper", reported.params_m), ("params_m", in_unit(MEGA, cost.params)))
        yield from (("gmacs_paper", reported.gmacs), ("gmacs", in_unit(GIGA, cost.macs)))
    for device, _, _ in layout.devices:
        theirs = layout.reported(line.model, form, device)
        assert theirs is not None
        yield f"{device}_latency_ms_paper", theirs.latency_ms
        if layout.ablation:
            yield f"{device}_latency_std_ms_paper", theirs.latency_std_ms
        if layout.throughput:
            yield f"{device}_img_s_paper", theirs.throughput_img_s
    for prefix, each in zip(_prefixes(shown), shown, strict=True):
        for key, value in _csv_measured(layout, each, line, form):
            yield f"{prefix}_{key}", value
    yield from (("top1_paper", reported.top1), ("dataset", reported.dataset))


def _prefixes(shown: Sequence[Shown]) -> list[str]:
    """Unique column prefixes from folder names: `a-b` gives `a_b`, a later `a_b` gives `a_b_2`."""
    found: list[str] = []
    for each in shown:
        name = each.device.slug.replace("-", "_")
        every = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        found.append(next(one for one in every if one not in found))
    return found


def _csv_measured(layout: Layout, shown: Shown, line: Line, form: str) -> Iterator[Field]:
    row = shown.rows.get((line.model, form, LATENCY_BATCH))
    summary, interval = (row.summary, row.interval) if row else (None, None)
    seconds = {
        "latency_ms": summary.latency if summary else None,
        "latency_low_ms": interval.low if interval else None,
        "latency_high_ms": interval.high if interval else None,
        "latency_mean_ms": summary.mean if summary else None,
        "latency_std_ms": summary.std if summary else None,
    }
    yield from ((key, in_unit(1e-3, value)) for key, value in seconds.items())
    batched = shown.rows.get((line.model, form, THROUGHPUT_BATCH))
    if layout.throughput:
        yield "img_s", batched.throughput if batched else None
    yield "rank", ranks.text(row.rank if row else None) or None
    yield "verdict", row.verdict.level if row and row.verdict else None
    yield "status", _status(row) if form in line.timed else None
    if layout.throughput:
        yield "img_s_verdict", batched.verdict.level if batched and batched.verdict else None
        yield "img_s_status", _status(batched)


def _status(row: Row | None) -> str:
    if row is None or row.summary is None:
        return f"failed ({row.failure.stage})" if row and row.failure else NOT_MEASURED
    return "unfinished" if row.unfinished else "measured"

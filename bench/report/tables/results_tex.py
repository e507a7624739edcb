"""`results.tex`: whatever was measured as a LaTeX table to print in a paper, one per device. Pure.

A row is a network in one setting; its batches are columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.analysis.rows import Row
from bench.models import naming
from bench.paper.accuracy import DATASETS, IMAGENET
from bench.records import Case, Cost
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.tables import latex
from bench.report.tables.grid import LATENCY, THROUGHPUT, Cell, Column, Link
from bench.text import (
    GIGA,
    MEGA,
    NOTHING,
    SPREAD_MS,
    facts,
    in_unit,
    significant,
    some_of,
)

MOST_LINES = 40  # of a table; a longer one would not fit on a page
REASON_CHARS = 200  # of the message of a failure
LEFT_OUT = ("kernel",)  # versions that no reader of a paper needs; results.md has them
SOURCES = {
    "paper": "the paper's tables",
    "timm": "timm's published results",
    "measured": "the user's file",
}


class Line(NamedTuple):
    """A network in one setting: its rows by batch. `first` is any of them."""

    first: Row
    rows: dict[int, Row]

    @property
    def setting(self) -> tuple[object, ...]:
        """All lines of a section share it: images, precision, backend, threads and allocation."""
        case = self.first.case
        shape = (case.resolution, case.input)
        return (*shape, case.precision, case.backend, case.threads, *case.allocation)


def render(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """`results.tex` with the measured cases of all devices, or nothing if there are none."""
    tables = [table for device in devices for table in _tables(device)]
    if not tables:
        return {}
    about = "The measured networks"
    return {"results.tex": latex.document(tables, "results", about).encode()}


def _tables(device: DeviceResults) -> Iterator[latex.Table]:
    """The table of a device, in parts of at most MOST_LINES lines."""
    lines = _lines(device.rows)
    cases = [line.first.case for line in lines]
    differ = {
        "with_threads": len({case.threads for case in cases}) > 1,
        "with_size": len({naming.image(case) for case in cases}) > 1,
    }
    for start in range(0, len(lines), MOST_LINES):
        part = lines[start : start + MOST_LINES]
        number = start // MOST_LINES + 1
        names = [naming.title(line.first.case, **differ) for line in part]
        columns = list(_columns(part, lines, names))
        starts = {n for n, line in enumerate(part) if n and line.setting != part[n - 1].setting}
        more = f", part {number}" if len(lines) > MOST_LINES else ""
        yield latex.Table(
            f"results-{device.slug}" + f"-{number}" * bool(more),
            f"Networks measured on {device.label}{more}: {_setting(cases)}.",
            columns,
            [*_notes(device, part, columns)],
            starts,
        )


def _lines(rows: Sequence[Row]) -> list[Line]:
    """The lines, sections of one setting together, and in them the forms of a network."""
    found: dict[tuple[object, ...], Line] = {}
    for row in rows:
        line = Line(row, {})
        key = (*line.setting, row.case.model, row.case.form)
        found.setdefault(key, line).rows[row.case.batch] = row
    lines = list(found.values())
    settings = list(dict.fromkeys(line.setting for line in lines))
    models = list(dict.fromkeys(line.first.case.model for line in lines))
    places = {model: place for place, model in enumerate(models)}
    return sorted(lines, key=lambda n: (settings.index(n.setting), places[n.first.case.model]))


def _columns(part: Sequence[Line], lines: Sequence[Line], names: Sequence[str]) -> Iterator[Column]:
    """The columns of `part`; `lines` are all lines of the device, which decide on the columns."""
    rows = [row for line in lines for row in line.rows.values()]
    costs = [_cost(line) for line in part]
    yield Column("", "Model", list(map(_text, names)))
    params = (significant(in_unit(MEGA, cost.params), 4) for cost in costs)
    yield Column("", "Params (M)", list(map(_text, params)))
    macs = (significant(in_unit(GIGA, cost.macs)) for cost in costs)
    yield Column("", "MACs (G)", list(map(_text, macs)))
    for dataset in _datasets(rows):
        name = DATASETS.get(dataset, dataset)
        yield Column("", f"{name} top-1 (%)", [_top1(line, dataset) for line in part])
    first, *others = sorted({row.case.batch for row in rows})
    found = [line.rows.get(first) for line in part]
    yield Column(f"Batch {first}", LATENCY, list(map(_latency, found)))
    yield Column(f"Batch {first}", SPREAD_MS, list(map(_spread, found)))
    for batch in others or [first]:
        cells = [_throughput(line.rows.get(batch)) for line in part]
        yield Column(f"Batch {batch}", THROUGHPUT, cells)


def _setting(cases: Sequence[Case]) -> str:
    """The settings that all cases share: `eager, fp32, 224×224 pixels, 2 threads`."""
    every = [
        {case.backend for case in cases},
        {case.precision for case in cases},
        {naming.image(case) for case in cases},
        {naming.threads(case.threads) for case in cases},
    ]
    return ", ".join(names.pop() if len(names) == 1 else "several" for names in every)


def _notes(device: DeviceResults, part: Sequence[Line], columns: Sequence[Column]) -> Iterator[str]:
    rows = [row for line in part for row in line.rows.values()]
    marked = list(doubts.footnotes(device.label, rows))
    yield from marked
    if marked:
        yield "The results.md of the device lists all reasons."
    yield from _failures(rows)
    yield (
        "Latency: mean of the processes' medians. Throughput: batch / latency. "
        "MACs: multiply-accumulates of one image."
    )
    sources = {known.source for row in rows for known in row.accuracies}
    if sources:
        yield f"Top-1: from {', '.join(SOURCES[each] for each in SOURCES if each in sources)}."
    if any(link.text == NOTHING for column in columns for cell in column.cells for link in cell):
        yield f"{NOTHING}: not measured or not known."
    environment = device.environment
    versions = {name: v for name, v in environment.versions.items() if name not in LEFT_OUT}
    known = facts({**environment.chip.facts, **versions}, environment.variables) or "unknown"
    yield f"{device.label}: environment {environment.environment_id}: {known}."


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    """A sentence for each reason for which cases failed, with the first of their names."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.failure:
            said = row.failure.message.strip().partition("\n")[0][:REASON_CHARS].rstrip(". ")
            why = f"failed at {row.failure.stage} with {row.failure.error}"
            batch = f" at batch {row.case.batch}"
            found.setdefault(f"{why}: {said}" if said else why, []).append(
                naming.title(row.case) + batch
            )
    yield from (f"{some_of(names)} {why}." for why, names in found.items())


def _datasets(rows: Sequence[Row]) -> list[str]:
    """The data sets of the known accuracies; ImageNet-1K alone where it is one of them."""
    found = sorted({known.dataset for row in rows for known in row.accuracies})
    return [IMAGENET] if IMAGENET in found else found


def _cost(line: Line) -> Cost:
    return next((row.cost for row in line.rows.values() if row.cost), Cost())


def _top1(line: Line, dataset: str) -> Cell:
    known = line.first.accuracy(dataset)
    return _text(significant(known.top1) if known else NOTHING)


def _latency(row: Row | None) -> Cell:
    if row is None or row.summary is None:
        return _text(_failed(row))
    return (Link("", significant(row.summary.latency * 1e3), doubts.marks(row)),)


def _spread(row: Row | None) -> Cell:
    if row is None or row.summary is None:
        return _text(_failed(row))
    return _text(row.summary.spread_ms)


def _throughput(row: Row | None) -> Cell:
    if row is None or row.throughput is None:
        return _text(_failed(row))
    return (Link("", significant(row.throughput), doubts.marks(row)),)


def _failed(row: Row | None) -> str:
    return f"failed ({row.failure.stage})" if row and row.failure else NOTHING


def _text(text: str) -> Cell:
    return (Link("", text),)

"""A table of the paper beside our numbers, as plain text in cells, whatever it is written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.analysis.rows import Row
from bench.models import forms
from bench.records import Cost
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.tables.layouts import (
    LATENCY_BATCH,
    THROUGHPUT_BATCH,
    Layout,
    Line,
    PaperDevice,
    Shown,
    costs_of,
)
from bench.text import GIGA, MEGA, NOT_MEASURED, NOTHING, facts, in_unit, plus_minus, significant

PAPER, OURS = "paper", "ours"
LATENCY, THROUGHPUT = "Latency (ms)", "Throughput (img/s)"


class Link(NamedTuple):
    """A form's part of a cell: the letter of the arrow to it (or BRACKETS), text, and marks."""

    arrow: str
    text: str
    marks: str = ""


Cell = tuple[Link, ...]


class Column(NamedTuple):
    """Cells under a heading; columns side by side of the same group have that above them."""

    group: str
    heading: str
    cells: list[Cell]

    @property
    def title(self) -> str:
        """Group and heading in one line: `A100, paper: Latency (ms)`, `MACs (G), paper`."""
        if not self.group:
            return self.heading
        short = {PAPER: f"{self.group}, {PAPER}", OURS: self.group}
        return short.get(self.heading, f"{self.group}: {self.heading}")


class Grid(NamedTuple):
    """A table: its title, columns, what its marks mean, and how to read it. All text is plain."""

    number: int
    title: str
    columns: list[Column]
    footnotes: list[str]
    notes: list[str]


def build(layout: Layout, devices: Sequence[DeviceResults], shown: Sequence[Shown]) -> Grid:
    """The table of what is `shown` of those of the `devices` that have a row in it."""
    columns = list(_columns(layout, costs_of(layout, devices), shown))
    notes = [note for each in shown for note in doubts.footnotes(each.name, each.rows.values())]
    if notes:
        notes.append("The results.md of a device has its reasons in full.")
    texts = {link.text for column in columns for cell in column.cells for link in cell}
    reading = [*_reading(layout, measured=bool(shown)), *layout.notes]
    if NOTHING in texts:
        reading.append(f"{NOTHING}: not measured.")
    about = [" ".join(reading), *_environments(devices, shown)]
    return Grid(layout.number, layout.title, columns, notes, about)


def _columns(
    layout: Layout, costs: Mapping[tuple[str, str], Cost], shown: Sequence[Shown]
) -> Iterator[Column]:
    def column(group: str, heading: str, cell: Callable[[Line], Cell]) -> Column:
        return Column(group, heading, [cell(line) for line in layout.lines])

    yield column("", "Model", lambda line: (Link("", line.name),))
    if layout.ablation:
        yield column("", "Rep.", lambda line: (Link("", "✓" if len(line.forms) > 1 else "✗"),))
    else:
        yield column("Params (M)", PAPER, lambda line: _reported(layout, line, "params_m"))
        if costs:
            yield column("Params (M)", OURS, lambda line: _counted(costs, line, _params))
        yield column("MACs (G)", PAPER, lambda line: _reported(layout, line, "gmacs"))
        if costs:
            yield column("MACs (G)", OURS, lambda line: _counted(costs, line, _macs))
    for group in _in_order(layout, shown):
        for heading, cell in _cells_of(layout, group):
            name = f"{group.name}, {PAPER}" if isinstance(group, PaperDevice) else group.name
            yield column(name, heading, cell)
    yield column(f"{layout.dataset} Top-1 (%)", PAPER, lambda line: _top1(layout, line))


def _in_order(layout: Layout, shown: Sequence[Shown]) -> Iterator[PaperDevice | Shown]:
    """Each device of the paper, followed by ours of its kind; then the rest of ours."""
    for theirs in layout.devices:
        yield theirs
        yield from (each for each in shown if each.device.kind == theirs.kind)
    kinds = {theirs.kind for theirs in layout.devices}
    yield from (each for each in shown if each.device.kind not in kinds)


def _cells_of(
    layout: Layout, group: PaperDevice | Shown
) -> Iterator[tuple[str, Callable[[Line], Cell]]]:
    """The columns of a group: headings, and what a line has there."""
    if isinstance(group, PaperDevice):
        yield LATENCY, lambda line: _reported(layout, line, "latency_ms", group.key)
        if layout.throughput:
            yield THROUGHPUT, lambda line: _reported(layout, line, "throughput_img_s", group.key)
        return
    yield LATENCY, lambda line: _latency(group, line, layout.spread)
    if layout.throughput:
        yield THROUGHPUT, lambda line: _throughput(group, line)
    yield "Rank", lambda line: _rank(group, line)


def _chain(chain: Sequence[str], parts: Sequence[tuple[str, str]], absent: str = NOTHING) -> Cell:
    """The forms of a line in one cell; `absent` where there is nothing of any."""
    if all(text == NOTHING for text, _ in parts):
        return (Link("", absent),)
    arrows = ["", *(forms.find(form).arrow for form in chain[1:])]
    return tuple(Link(arrow, *part) for arrow, part in zip(arrows, parts, strict=True))


def _reported(layout: Layout, line: Line, field: str, device: str = "") -> Cell:
    """As the paper prints it: all numbers of a cell to the decimals of the most exact."""
    chain = line.forms if field == "throughput_img_s" else line.timed
    rows = [layout.reported(line.model, form, device) for form in chain]
    values = [getattr(row, field) if row else None for row in rows]
    spreads = [row.latency_std_ms if row and field == "latency_ms" else None for row in rows]
    known = [value for value in (*values, *spreads) if value is not None]
    decimals = max((len(f"{value:g}".partition(".")[2]) for value in known), default=0)
    parts = []
    for value, spread in zip(values, spreads, strict=True):
        text = NOTHING if value is None else f"{value:.{decimals}f}"
        parts.append((text if spread is None else f"{text} ± {spread:.{decimals}f}", ""))
    return _chain(chain, parts)


def _top1(layout: Layout, line: Line) -> Cell:
    """All forms have the same."""
    row = layout.reported(line.model, line.forms[0])
    return (Link("", f"{row.top1:.1f}" if row and row.top1 is not None else NOTHING),)


def _counted(
    costs: Mapping[tuple[str, str], Cost], line: Line, text: Callable[[Cost], str]
) -> Cell:
    found = [costs.get((line.model, form), Cost()) for form in line.timed]
    return _chain(line.timed, [(text(cost), "") for cost in found])


def _params(cost: Cost) -> str:
    return significant(in_unit(MEGA, cost.params), 4)


def _macs(cost: Cost) -> str:
    return significant(in_unit(GIGA, cost.macs))


def _latency(shown: Shown, line: Line, spread: bool) -> Cell:
    def part(row: Row | None) -> tuple[str, str]:
        if row is None or row.summary is None:
            return _unmeasured(row), ""
        mean, std = row.summary.mean * 1e3, row.summary.std * 1e3
        return plus_minus(mean, std if spread else math.nan), doubts.marks(row)

    found = [shown.rows.get((line.model, form, LATENCY_BATCH)) for form in line.timed]
    return _chain(line.timed, [part(row) for row in found], NOT_MEASURED)


def _throughput(shown: Shown, line: Line) -> Cell:
    def part(row: Row | None) -> tuple[str, str]:
        if row is None or row.throughput is None:
            return _unmeasured(row), ""
        return significant(row.throughput), doubts.marks(row)

    found = [shown.rows.get((line.model, form, THROUGHPUT_BATCH)) for form in line.forms]
    return _chain(line.forms, [part(row) for row in found], NOT_MEASURED)


def _unmeasured(row: Row | None) -> str:
    return f"failed ({row.failure.stage})" if row and row.failure else NOTHING


def _rank(shown: Shown, line: Line) -> Cell:
    found = [shown.rows.get((line.model, form, LATENCY_BATCH)) for form in line.timed]
    ranks = [str(row.rank) if row and row.rank else NOTHING for row in found]
    return _chain(line.timed, [(rank, "") for rank in ranks])


def _reading(layout: Layout, *, measured: bool) -> Iterator[str]:
    yield "Columns that say paper are the paper's numbers, all others are ours."
    if measured:
        spread = " ± their standard deviation" if layout.spread else ""
        yield (
            f"Ours are measured eager in IEEE fp32, without TF32, at {layout.resolution} pixels. "
            f"Latency: at batch {LATENCY_BATCH}, the mean of all timed iterations{spread}."
        )
        if layout.throughput:
            yield f"Throughput: at batch {THROUGHPUT_BATCH}, {THROUGHPUT_BATCH} / median."
        yield (
            "Rank: by latency, among what this table has of the device; what cannot be told apart "
            "shares one."
        )
    if not layout.ablation:
        yield "MACs: multiply-accumulates of one image, the paper's FLOPs."
    if layout.chained and any("rrep" in line.forms for line in layout.lines):
        yield "→r: regular re-parameterisation. →s: shortcuts merged too."
    elif layout.chained:
        yield "→s: full re-parameterisation."


def _environments(devices: Sequence[DeviceResults], shown: Sequence[Shown]) -> Iterator[str]:
    """What the table was measured on, and on what it was not."""
    for name, environment in ((each.name, each.device.environment) for each in shown):
        known = facts({**environment.chip.facts, **environment.versions}) or "nothing is known"
        yield f"{name}: environment {environment.environment_id}: {known}."
    here = [id(each.device) for each in shown]
    if absent := [device.label for device in devices if id(device) not in here]:
        yield f"Not measured on: {', '.join(absent)}."

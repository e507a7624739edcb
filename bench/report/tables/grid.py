"""A table of the paper with our columns next to the paper's: plain text, for any output format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.analysis import evaluations, ranks, twins
from bench.analysis.rows import Row
from bench.analysis.stats import Summary
from bench.models import forms, naming
from bench.records import Cost, Evaluation
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.tables import neighbours
from bench.report.tables.layouts import (
    LATENCY_BATCH,
    THROUGHPUT_BATCH,
    Layout,
    Line,
    PaperDevice,
    Shown,
    costs_of,
    evaluated,
)
from bench.text import (
    GIGA,
    MEGA,
    NOT_MEASURED,
    NOTHING,
    SPREAD_MS,
    facts,
    in_unit,
    milliseconds,
    significant,
)

PAPER, OURS = "paper", "ours"
LATENCY, THROUGHPUT = "Latency (ms)", "Throughput (img/s)"


class Link(NamedTuple):
    """The part of a cell for one form: the arrow's letter (or BRACKETS), the text, and marks."""

    arrow: str
    text: str
    marks: str = ""


Cell = tuple[Link, ...]


class Column(NamedTuple):
    """A heading and its cells; adjacent columns of the same group share the group's heading."""

    group: str
    heading: str
    cells: list[Cell]

    @property
    def title(self) -> str:
        """Group and heading on one line: `A100, paper: Latency (ms)` or `MACs (G), paper`."""
        if not self.group:
            return self.heading
        short = {PAPER: f"{self.group}, {PAPER}", OURS: self.group}
        return short.get(self.heading, f"{self.group}: {self.heading}")


class Grid(NamedTuple):
    """A table: `footnotes` explain the marks, `notes` explain the columns. All text is plain."""

    number: int
    title: str
    columns: list[Column]
    footnotes: list[str]
    notes: list[str]


def build(layout: Layout, devices: Sequence[DeviceResults], shown: Sequence[Shown]) -> Grid:
    """The table of `layout`; `shown` has the rows of those `devices` that have any in it."""
    measured = evaluated(layout, devices)
    columns = list(_columns(layout, costs_of(layout, devices), shown, measured))
    notes = [note for each in shown for note in doubts.footnotes(each.name, each.rows.values())]
    if notes:
        notes.append("The results.md of the device lists all reasons.")
    notes += [note for each in shown for note in (*neighbours.line(each), *_twins(each))]
    notes += [_measured_here(model, made) for model, made in measured.items()]
    texts = {link.text for column in columns for cell in column.cells for link in cell}
    reading = [*_reading(layout, measured=bool(shown)), *layout.notes]
    if NOTHING in texts:
        reading.append(f"{NOTHING}: not measured.")
    about = [" ".join(reading), *_environments(devices, shown)]
    return Grid(layout.number, layout.title, columns, notes, about)


def _columns(
    layout: Layout,
    costs: Mapping[tuple[str, str], Cost],
    shown: Sequence[Shown],
    measured: Mapping[str, Evaluation],
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
    if measured:
        name = f"{layout.dataset} Top-1 (%)"
        yield column(name, OURS, lambda line: _own_top1(measured.get(line.model)))


def _in_order(layout: Layout, shown: Sequence[Shown]) -> Iterator[PaperDevice | Shown]:
    """Each of the paper's devices followed by our devices of its kind; then our other devices."""
    for theirs in layout.devices:
        yield theirs
        yield from (each for each in shown if each.device.kind == theirs.kind)
    kinds = {theirs.kind for theirs in layout.devices}
    yield from (each for each in shown if each.device.kind not in kinds)


def _cells_of(
    layout: Layout, group: PaperDevice | Shown
) -> Iterator[tuple[str, Callable[[Line], Cell]]]:
    """The columns of a group: a heading, and a function from a line to its cell."""
    if isinstance(group, PaperDevice):
        yield LATENCY, lambda line: _reported(layout, line, "latency_ms", group.key)
        if layout.throughput:
            yield THROUGHPUT, lambda line: _reported(layout, line, "throughput_img_s", group.key)
        return
    yield LATENCY, lambda line: _latency(group, line, _headline)
    if layout.spread:
        yield SPREAD_MS, lambda line: _latency(group, line, lambda summary: summary.spread_ms)
    if layout.throughput:
        yield THROUGHPUT, lambda line: _throughput(group, line)
    yield "Rank", lambda line: _rank(group, line)


def _chain(chain: Sequence[str], parts: Sequence[tuple[str, str]], absent: str = NOTHING) -> Cell:
    """The (text, marks) of all forms of a line in one cell; `absent` if no form has a value."""
    if all(text == NOTHING for text, _ in parts):
        return (Link("", absent),)
    arrows = ["", *(forms.find(form).arrow for form in chain[1:])]
    return tuple(Link(arrow, *part) for arrow, part in zip(arrows, parts, strict=True))


def _reported(layout: Layout, line: Line, field: str, device: str = "") -> Cell:
    """The paper's numbers, with the digits that the paper prints."""
    chain = line.forms if field == "throughput_img_s" else line.timed
    parts = []
    for form in chain:
        row = layout.reported(line.model, form, device)
        digits = row.printed if row else {}
        text, spread = digits.get(field, NOTHING), digits.get("latency_std_ms")
        is_spread = field == "latency_ms" and spread is not None
        parts.append((f"{text} ± {spread}" if is_spread else text, ""))
    return _chain(chain, parts)


def _top1(layout: Layout, line: Line) -> Cell:
    """The paper's top-1, once per line: re-parameterisation does not change it."""
    row = layout.reported(line.model, line.forms[0])
    return (Link("", f"{row.top1:.1f}" if row and row.top1 is not None else NOTHING),)


def _own_top1(made: Evaluation | None) -> Cell:
    return (Link("", f"{100 * evaluations.top1(made).point:.1f}" if made else NOTHING),)


def _measured_here(model: str, made: Evaluation) -> str:
    """A sentence on how our top-1 of a network was measured."""
    low, high = (100 * each for each in evaluations.top1(made)[1:])
    return (
        f"Our top-1 of {naming.network_title(model, forms.ONLY)} was measured here: "
        f"{made.images} images, 95 % interval {low:.1f} to {high:.1f}, weights {made.weights_hash}."
    )


def _counted(
    costs: Mapping[tuple[str, str], Cost], line: Line, text: Callable[[Cost], str]
) -> Cell:
    found = [costs.get((line.model, form), Cost()) for form in line.timed]
    return _chain(line.timed, [(text(cost), "") for cost in found])


def _params(cost: Cost) -> str:
    return significant(in_unit(MEGA, cost.params), 4)


def _macs(cost: Cost) -> str:
    return significant(in_unit(GIGA, cost.macs))


def _latency(shown: Shown, line: Line, text: Callable[[Summary], str]) -> Cell:
    def part(row: Row | None) -> tuple[str, str]:
        if row is None or row.summary is None:
            return _unmeasured(row), ""
        return text(row.summary), doubts.marks(row)

    found = [shown.rows.get((line.model, form, LATENCY_BATCH)) for form in line.timed]
    return _chain(line.timed, [part(row) for row in found], NOT_MEASURED)


def _headline(summary: Summary) -> str:
    return significant(milliseconds(summary.latency))


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
    texts = [ranks.text(row.rank if row else None) or NOTHING for row in found]
    return _chain(line.timed, [(text, "") for text in texts])


def _reading(layout: Layout, *, measured: bool) -> Iterator[str]:
    yield "Columns whose heading says paper show the paper's numbers; all others show ours."
    if measured:
        yield (
            f"We measure eager in IEEE fp32, without TF32, at {layout.resolution} pixels. "
            f"Latency: mean of the processes' medians at batch {LATENCY_BATCH}."
        )
        if layout.spread:
            yield "The paper does not say how it computes its ±; ours has its own column."
        if layout.throughput:
            yield (f"Throughput: {THROUGHPUT_BATCH} images / latency at batch {THROUGHPUT_BATCH}.")
        yield (
            "Rank: the places that a row can have among the device's rows in this table. Of two "
            "rows, one is faster if the 95 % interval of their ratio is wholly beyond 2 %. "
            "Intervals hold for the times of the measurement and the kinds of processes that were "
            "met."
        )
    if not layout.ablation:
        yield "MACs: multiply-accumulates for one image, which the paper calls FLOPs."
    if layout.chained and any("rrep" in line.forms for line in layout.lines):
        yield "→r: regular re-parameterisation. →s: also merges the shortcuts."
    elif layout.chained:
        yield "→s: full re-parameterisation."


def _twins(shown: Shown) -> Iterator[str]:
    """A line with the networks of one device that differ in name only; nothing without any."""
    alike = [
        ", ".join(naming.title(row.case) for row in rows)
        for rows in twins.groups(list(shown.rows.values()))
    ]
    if alike:
        yield (
            f"The same network under several names on {shown.name}: {'; '.join(alike)}. "
            "Their true ratio is 1."
        )


def _environments(devices: Sequence[DeviceResults], shown: Sequence[Shown]) -> Iterator[str]:
    """A line per device with its environment, and a line with the devices that have no row."""
    for name, environment in ((each.name, each.device.environment) for each in shown):
        known = (
            facts({**environment.chip.facts, **environment.versions}, environment.variables)
            or "unknown"
        )
        yield f"{name}: environment {environment.environment_id}: {known}."
    here = [id(each.device) for each in shown]
    if absent := [device.label for device in devices if id(device) not in here]:
        yield f"Not measured on: {', '.join(absent)}."

"""The speed-up of each re-parameterised form over the network as trained. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from matplotlib.lines import Line2D

from bench import paper
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import forms
from bench.models.forms import Form
from bench.records import Case
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import (
    PALE,
    compact,
    fitted,
    listed,
    mixed,
    painted,
    positive_axis,
)
from bench.report.figures.titles import LONGEST, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = 1
BASE = forms.REFERENCE
PANELS, MOST = 4, 30  # devices, chains per device
LEGEND_COLUMNS = 6
TABLES = (4, 5, 2, 3)  # the paper's tables, in order of preference for a ratio
WIDTH, TOP, HEAD, LINE, SPACE, NOTE = 9.5, 1.0, 0.75, 0.17, 0.14, 0.16  # inches
WRAP, LONGEST_TITLE = 135, 60
ROOM = 1.25  # the axis extends beyond the points by this factor; longer intervals are cut
PAPER_COLOUR, INK = "#777777", "#222222"


class Step(NamedTuple):
    """latency(train) / latency(form): our ratio, its interval, and the paper's; None if unknown.

    `level`: the worse verdict of the two latencies. `marks`: the marks from `doubts.marks`.
    """

    form: str
    ratio: float
    interval: Estimate | None
    reported: float | None
    level: str
    marks: str


class Chain(NamedTuple):
    """A model in one setting, and the speed-ups of its forms."""

    name: str
    steps: list[Step]


class Panel(NamedTuple):
    """One device."""

    title: str
    chains: list[Chain]


def speedups(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """Speed-ups at batch 1, with a panel for each of the first 4 devices.

    Each line also shows the ratio on the paper's A100. Returns {} if no model was measured both as
    trained and in another form.
    """
    found = [Panel(fitted(each.label, LONGEST_TITLE), chains(each.rows)) for each in devices]
    panels = [each for each in found if each.chains]
    if not panels:
        return {}
    shown = [each._replace(chains=each.chains[:MOST]) for each in panels[:PANELS]]
    notes = _notes(panels)
    heights = [_height(each) for each in shown]
    size = (WIDTH, TOP + sum(heights) + HEAD * len(shown) + NOTE * len(notes))
    return painted(lambda figure: paint(figure, shown, notes), size)


def chains(rows: Sequence[Row]) -> list[Chain]:
    """A chain per model measured as trained and in another form, in the order of `rows`."""
    found: dict[Case, dict[str, Row]] = {}
    for row in rows:
        if row.summary and row.case.batch == BATCH:
            alike = msgspec.structs.replace(row.case, form=BASE)
            found.setdefault(alike, {})[row.case.form] = row
    every = [Chain(title_of(by[BASE]), _steps(by)) for by in found.values() if BASE in by]
    return [chain for chain in every if chain.steps]


def _steps(by_form: Mapping[str, Row]) -> list[Step]:
    shown = [form for form in forms.in_order(by_form) if form.colour]
    return [_step(by_form[BASE], by_form[form.name]) for form in shown]


def paint(figure: Figure, panels: Sequence[Panel], notes: Sequence[str]) -> None:
    """Draw the same on an existing figure."""
    figure.suptitle(f"Speed-up over the network as trained, batch {BATCH}", fontsize=12)
    heights = [_height(each) for each in panels]
    found = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)
    steps = [step for each in panels for chain in each.chains for step in chain.steps]
    points = [value for step in steps for value in (step.ratio, step.reported or step.ratio)]
    positive_axis(found[-1, 0], min([1.0, *points]) / ROOM, max([1.0, *points]) * ROOM)
    for axes, each in zip(found[:, 0], panels, strict=True):
        _plot(axes, each)
    found[-1, 0].set_xlabel("Latency as trained / latency of the form: above 1 is faster")
    figure.legend(
        handles=_handles(steps),
        loc="outside lower left",
        ncols=LEGEND_COLUMNS,
        fontsize=8,
        title="\n".join(notes),
        title_fontsize=8,
        alignment="left",
    )


def _step(base: Row, row: Row) -> Step:
    found = compare(base.rounds, row.rounds)
    ratio = found.ratio
    return Step(
        form=row.case.form,
        ratio=1 / ratio.point if ratio else found.base_s / found.candidate_s,
        interval=Estimate(*map(_inverse, (ratio.point, ratio.high, ratio.low))) if ratio else None,
        reported=_reported(row.case),
        level=doubts.level(base, row),
        marks=doubts.marks(base, row),
    )


def _inverse(value: float) -> float:
    return 1 / value if value else math.inf


def _reported(case: Case) -> float | None:
    """The ratio on the paper's A100, from two rows of one table, at the case's resolution."""
    for table in TABLES:
        forms = [paper.find(table, "a100", case.model, form) for form in (BASE, case.form)]
        base, row = (
            each.latency_ms if each and each.input_size == case.resolution else None
            for each in forms
        )
        if base and row:
            return base / row
    return None


def _height(panel: Panel) -> float:
    return sum(LINE * len(chain.steps) + SPACE for chain in panel.chains)


def _plot(axes: Axes, panel: Panel) -> None:
    """Draw a line per form, chain below chain; the y axis is in inches."""
    axes.set_title(panel.title, loc="left")
    axes.axvline(1.0, color="#999999", linewidth=1, zorder=1)
    ticks, edges, top = [], [], 0.0
    for chain in panel.chains:
        bottom = top + LINE * len(chain.steps) + SPACE
        ticks.append((top + bottom) / 2)
        edges.append(bottom)
        for number, step in enumerate(chain.steps):
            _draw(axes, step, top + SPACE / 2 + (number + 0.5) * LINE)
        top = bottom
    where = axes.get_yaxis_transform()
    axes.hlines(edges[:-1], 0, 1, transform=where, color="#e6e6e6", linewidth=0.6)
    axes.set_ylim(top, 0)
    axes.set_yticks(ticks, [chain.name for chain in panel.chains], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=True)
    axes.grid(visible=False, axis="y")


def _draw(axes: Axes, step: Step, height: float) -> None:
    form = forms.find(step.form)
    marker, colour = form.marker.sign, mixed(form.colour or INK, "white", PALE[step.level])
    if step.reported:
        axes.plot([step.reported], [height], zorder=3, **_hollow(marker))
    text = compact(step.ratio) + step.marks
    if step.interval:
        low, high = step.interval.low, step.interval.high
        ends = np.clip([low, high], *axes.get_xlim())
        axes.plot(ends, [height] * 2, color=colour, linewidth=1.8, zorder=4)
        text += f"  [{compact(low)}, {compact(high)}]"
    axes.plot([step.ratio], [height], marker, color=colour, markersize=5, zorder=5)
    where = axes.get_yaxis_transform()
    axes.text(1.015, height, text, transform=where, fontsize=7.5, va="center", color=INK)


def _hollow(marker: str) -> dict[str, Any]:
    return {
        "marker": marker,
        "markersize": 6.5,
        "markerfacecolor": "white",
        "markeredgecolor": PAPER_COLOUR,
        "linestyle": "",
    }


def _sign(form: Form) -> dict[str, Any]:
    return {"linestyle": "", "marker": form.marker.sign}


def _handles(steps: Sequence[Step]) -> list[Line2D]:
    handles = [
        Line2D([], [], label=fitted(form.label, LONGEST), color=form.colour, **_sign(form))
        for form in forms.in_order({step.form for step in steps})
    ]
    if any(step.interval for step in steps):
        handles.append(Line2D([], [], label="95 % interval", color=INK, linewidth=1.8))
    if any(step.reported for step in steps):
        handles.append(Line2D([], [], label="paper, A100", **_hollow("o")))
    return handles


def _notes(panels: Sequence[Panel]) -> list[str]:
    """The lines below the figure: marks, missing intervals, and what is not shown."""
    shown = [each._replace(chains=each.chains[:MOST]) for each in panels[:PANELS]]
    several = len(shown) > 1
    bare = [
        chain.name + (f" on {each.title}" if several else "")
        for each in shown
        for chain in each.chains
        if any(step.interval is None for step in chain.steps)
    ]
    rest = [chain.name for each in panels[:PANELS] for chain in each.chains[MOST:]]
    texts = [step.marks for each in shown for chain in each.chains for step in chain.steps]
    return [
        *doubts.legend(texts, " (as trained, or in this form)"),
        *listed("No interval, too few processes: ", bare, WRAP),
        *listed("Not shown, for lack of space: ", rest, WRAP),
        *listed(
            f"Not shown, more than {PANELS} devices: ", [e.title for e in panels[PANELS:]], WRAP
        ),
    ]

"""The speed-up of each re-parameterised form over the network as trained. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from bench.models import forms
from bench.models.forms import Form
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import (
    PALE,
    compact,
    fitted,
    listed,
    mixed,
    painted,
)
from bench.report.figures.chains import REACH, Panel, Step, panel
from bench.report.figures.titles import LONGEST, with_room

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, MOST = 4, 30  # devices, chains per device
LEGEND_COLUMNS = 6
WIDTH, TOP, HEAD, LINE, SPACE, NOTE = 9.5, 1.0, 0.75, 0.17, 0.14, 0.16  # inches
WRAP = 135
ROOM = 1.08  # the axis extends beyond marks and intervals by this factor
TICKS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # times a power of ten
FEWER_TICKS, WIDE = (1.0, 2.0, 3.0, 5.0), 20.0  # beyond this factor between the ends
CLOSEST = 0.06  # between ticks: share of the axis
AXIS = "Latency as trained / latency of the form (logarithmic): right is faster, left is slower"
CUT = f"interval beyond {REACH:g} times the ratio, or a {REACH:g}th of it"
PAPER_COLOUR, INK = "#777777", "#222222"
ARROW: dict[str, Any] = {"linestyle": "", "markersize": 4, "markeredgewidth": 0, "zorder": 4}


def speedups(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """Speed-ups at batch 1, with a panel for each of the first 4 devices.

    Each line also shows the ratio on the paper's device of the same kind. Returns {} if no model
    was measured both as trained and in another form.
    """
    panels = [found for found in map(panel, devices) if found.chains]
    if not panels:
        return {}
    shown = [each._replace(chains=each.chains[:MOST]) for each in panels[:PANELS]]
    notes = _notes(panels)
    heights = [height(each) for each in shown]
    names = [chain.name for each in shown for chain in each.chains]
    size = (with_room(WIDTH, names), TOP + sum(heights) + HEAD * len(shown) + NOTE * len(notes))
    return painted(lambda figure: paint(figure, shown, notes), size)


def paint(figure: Figure, panels: Sequence[Panel], notes: Sequence[str]) -> None:
    """Draw the same on an existing figure."""
    figure.suptitle("Speed-up over the network as trained", x=0.01, ha="left", fontsize=12)
    heights = [height(each) for each in panels]
    found = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)
    steps = [step for each in panels for chain in each.chains for step in chain.steps]
    set_axis(found[-1, 0], steps)
    for axes, each in zip(found[:, 0], panels, strict=True):
        plot(axes, each)
    found[-1, 0].set_xlabel(AXIS)
    figure.legend(
        handles=handles(steps),
        loc="outside lower left",
        ncols=LEGEND_COLUMNS,
        fontsize=8,
        title="\n".join(notes),
        title_fontsize=8,
        alignment="left",
    )


def set_axis(axes: Axes, steps: Sequence[Step], closest: float = CLOSEST) -> None:
    """A logarithmic x axis that holds 1 and all `steps`, with a tick at 1 and others around it.

    `closest`: the least distance between ticks, as a share of the axis.
    """
    points = [1.0, *(x for step in steps for x in (*step.ends, step.reported or step.ratio))]
    low, high = min(points) / ROOM, max(points) * ROOM
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    numbers = TICKS if high < WIDE * low else FEWER_TICKS
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{step * 10.0**power:.3g}") for power in powers for step in numbers]
    apart = (high / low) ** closest
    ticks = [1.0]
    for tick in [each for each in every if 1 < each <= high]:
        ticks += [tick] * (tick > ticks[-1] * apart)
    for tick in [each for each in reversed(every) if low <= each < 1]:
        ticks = [tick] * (tick < ticks[0] / apart) + ticks
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def height(panel: Panel) -> float:
    """The height of a panel in inches, without its title and axis."""
    return sum(LINE * len(chain.steps) + SPACE for chain in panel.chains)


def plot(axes: Axes, panel: Panel) -> None:
    """Draw a line per form, chain below chain; the y axis is in inches."""
    axes.set_title(panel.title, loc="left", fontsize=9.5)
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
        axes.plot(step.ends, [height] * 2, color=colour, linewidth=1.8, zorder=4)
        for end, is_cut, sign in zip(step.ends, step.is_cut, "<>", strict=True):
            if is_cut:
                axes.plot([end], [height], marker=sign, color=colour, **ARROW)
        text += f"  [{compact(step.interval.low)}, {compact(step.interval.high)}]"
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


def handles(steps: Sequence[Step]) -> list[Line2D]:
    """Legend entries for the forms, intervals and the paper's marks that occur."""
    found = [
        Line2D([], [], label=fitted(form.label, LONGEST), color=form.colour, **_sign(form))
        for form in forms.in_order({step.form for step in steps})
    ]
    if any(step.interval for step in steps):
        found.append(Line2D([], [], label="95 % interval", color=INK, linewidth=1.8))
    if any(True in step.is_cut for step in steps):
        found.append(Line2D([], [], label=CUT, marker=">", color=INK, **ARROW))
    return found + [
        Line2D([], [], label=f"{fitted(form.label, LONGEST)}, paper", **_hollow(form.marker.sign))
        for form in forms.in_order({step.form for step in steps if step.reported})
    ]


def _notes(panels: Sequence[Panel]) -> list[str]:
    """The lines below the figure: marks, missing intervals, and what is not shown."""
    shown = [each._replace(chains=each.chains[:MOST]) for each in panels[:PANELS]]
    several = len(shown) > 1
    bare = [
        chain.name + (f" on {each.name}" if several else "")
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
            f"Not shown, more than {PANELS} devices: ", [e.name for e in panels[PANELS:]], WRAP
        ),
    ]

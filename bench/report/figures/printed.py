"""Figures to print in a paper: PDF, as wide as a column or a page. Pure.

Each shows one device. Text has the size that it has in the paper, so it stays readable; the notes
on omitted cases are in the other formats of the figure.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.report import doubts
from bench.report.colours import colour_of, known_families
from bench.report.devices import DeviceResults
from bench.report.figures import chains, figure1, latency, scale, speedups, spots
from bench.report.figures.canvas import PDF, fitted, painted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTHS = {"column": 3.3, "page": 6.9}  # inches
LETTERS = 17  # of a title, per inch
TITLE, LABEL, KEY = 8, 8, 7  # points
SHAPE = 0.75  # height / width of the plot of accuracies
KEY_WIDTH = 2.0  # inches, of a column of the legend
NAME_LETTERS = 6.5  # of the name of a row, per inch of the figure
LINE = 0.17  # inches, of a row and of a line of the legend
MARGIN, LEAST = 0.85, 0.4  # inches: of title and axis together, and of the plot
TICK = 0.3  # inches between ticks, at least

Pictures = dict[str, bytes]


def accuracy(devices: Sequence[DeviceResults]) -> Pictures:
    """`column` and `page`: top-1 over latency of a device; {} for several devices or no spot."""
    if len(devices) != 1:
        return {}
    panel = spots.panel(devices[0], figure1.MOST)
    families = known_families(devices)
    if not panel.spots:
        return {}

    def paint(figure: Figure, width: float) -> None:
        axes = figure.subplots()
        tops = [(spot.top1, spot.top1) for spot in panel.spots]
        scale.apply(axes, "y", scale.scale_of(tops, may_be_log=False))
        figure1.plot(axes, panel.spots, families)
        _finish(figure, axes, width, f"{panel.title}: {panel.settings}")
        axes.set_xlabel(f"Latency at batch {spots.BATCH} (ms)\n", fontsize=LABEL)
        axes.set_ylabel("Top-1 on ImageNet-1K (%)", fontsize=LABEL)
        _legend(figure, width, keys)
        colours = {family: colour_of(family, families) for family in families}
        figure1.write_names(figure, {axes: panel}, colours)
        axes.set_xlabel(axes.get_xlabel().replace("\n; ", "\n"))  # how many names are omitted

    keys = [signs[0] for signs in figure1.handles(panel.spots)]
    return _drawn(paint, lambda width: SHAPE * width + _margin(width, keys))


def speed_ups(devices: Sequence[DeviceResults]) -> Pictures:
    """`column` and `page`: the speed-ups on a device; {} for several devices or no chain."""
    if len(devices) != 1:
        return {}
    whole = chains.panel(devices[0])
    panel = whole._replace(chains=whole.chains[: speedups.MOST])
    steps = [step for chain in panel.chains for step in chain.steps]
    if not steps:
        return {}

    def paint(figure: Figure, width: float) -> None:
        axes = figure.subplots()
        speedups.set_axis(axes, steps, closest=TICK / (width / 2))
        speedups.plot(axes, panel)
        _shorten_names(axes, width)
        _finish(figure, axes, width, panel.title)
        axes.set_xlabel("Latency as trained / latency of the form", fontsize=LABEL)
        _legend(figure, width, keys, marks)

    marks, keys = [step.marks for step in steps], speedups.handles(steps)
    return _drawn(paint, lambda width: speedups.height(panel) + _margin(width, keys, marks))


def latencies(devices: Sequence[DeviceResults]) -> Pictures:
    """`column` and `page`: the latency of every network on a device; {} if none was measured."""
    if len(devices) != 1:
        return {}
    panel = latency.panel(devices[0])
    if not panel.rows:
        return {}

    def paint(figure: Figure, width: float) -> None:
        axes = figure.subplots()
        latency.plot(axes, panel)
        _shorten_names(axes, width)
        _finish(figure, axes, width, panel.title)
        more = f"\n{panel.left_out} slower cases are not shown" if panel.left_out else ""
        axes.set_xlabel(f"Latency (ms){more}", fontsize=LABEL)
        _legend(figure, width, keys, panel.marks)

    keys = latency.handles(panel)
    tall = max(LINE * len(panel.rows), LEAST)
    return _drawn(paint, lambda width: tall + _margin(width, keys, panel.marks))


def _drawn(paint: Callable[..., None], height: Callable[[float], float]) -> Pictures:
    """The PDF of each width; `height` is a function of the width, in inches."""
    found = {}
    for name, width in WIDTHS.items():
        size = (width, height(width))
        found[name] = painted(functools.partial(paint, width=width), size, PDF)["pdf"]
    return found


def _finish(figure: Figure, axes: Axes, width: float, title: str) -> None:
    axes.set_title("")
    axes.set_title("", loc="left")
    figure.suptitle(_wrapped(title, width), x=0.02, ha="left", fontsize=TITLE)
    axes.tick_params(labelsize=KEY)


def _shorten_names(axes: Axes, width: float) -> None:
    names = [text.get_text() for text in axes.get_yticklabels()]
    axes.set_yticklabels([fitted(name, round(NAME_LETTERS * width)) for name in names])


def _legend(
    figure: Figure, width: float, handles: Sequence[Line2D], marks: Sequence[str] = ()
) -> None:
    """The legend below the plot, and what the marks mean."""
    notes = _notes(width, marks)
    figure.legend(
        handles=list(handles),
        labels=list(map(_key, handles)),
        loc="outside lower left",
        ncols=int(width / KEY_WIDTH),
        fontsize=KEY,
        title=notes,
        title_fontsize=KEY,
        alignment="left",
    )


def _margin(width: float, handles: Sequence[Line2D], marks: Sequence[str] = ()) -> float:
    """Inches of title, axis and legend."""
    lines = sum(_key(each).count("\n") + 1 for each in handles) / int(width / KEY_WIDTH)
    return MARGIN + LINE * (math.ceil(lines) + _notes(width, marks).count("\n") + 1)


def _notes(width: float, marks: Sequence[str]) -> str:
    return "\n".join(_wrapped(line, width) for line in doubts.legend(marks))


def _key(handle: Line2D) -> str:
    return _wrapped(str(handle.get_label()), KEY_WIDTH)


def _wrapped(text: str, width: float) -> str:
    """`text` on lines of at most `width` inches, about."""
    return "\n".join(textwrap.wrap(text, round(LETTERS * width)))

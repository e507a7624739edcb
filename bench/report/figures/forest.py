"""A forest plot: one line per ratio with its interval, and a band for the margin of SAME."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.analysis.stats import Estimate, Finding
from bench.report.figures.canvas import drawn, fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINDING_COLOURS: dict[Finding, str] = {
    "FASTER": "#009E73",
    "SLOWER": "#D55E00",
    "SAME": "#0072B2",
    "UNDECIDED": "#888888",
    "INVALID": "#000000",
}
WIDTH, TOP, LINE = 9.0, 1.6, 0.32  # inches
LONGEST_NAME, LONGEST_TITLE = 50, 70  # letters


class Bar(NamedTuple):
    """One line of the plot: a ratio with its interval."""

    name: str
    ratio: Estimate
    finding: Finding


def forest(bars: Sequence[Bar], margin: float, title: str, below: str) -> bytes:
    """The PNG of a forest plot of `bars`, the first at the top. `below` is the axis label."""
    height = TOP + LINE * max(len(bars), 3)
    return drawn(lambda axes: paint(axes, bars, margin, title, below), (WIDTH, height))


def paint(axes: Axes, bars: Sequence[Bar], margin: float, title: str, below: str) -> None:
    """Draw the same on existing axes."""
    axes.set_title(fitted(title, LONGEST_TITLE))
    axes.set_xlabel(below)
    axes.axvspan(1 / (1 + margin), 1 + margin, color="#eeeeee", zorder=0)
    axes.axvline(1.0, color="#999999", linewidth=1, zorder=1)
    if not bars:
        axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
    for place, bar in enumerate(bars):
        colour = FINDING_COLOURS[bar.finding]
        axes.plot([bar.ratio.low, bar.ratio.high], [place, place], color=colour, linewidth=2)
        axes.plot([bar.ratio.point], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(bars)), [fitted(bar.name, LONGEST_NAME) for bar in bars])
    axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    for finding in dict.fromkeys(bar.finding for bar in bars):
        axes.plot([], [], "o-", color=FINDING_COLOURS[finding], label=finding)
    if bars:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)

"""The latency of every network that was measured, the fastest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.lines import Line2D

from bench.analysis.rows import Row
from bench.models import naming
from bench.report import doubts
from bench.report.colours import colour_of, known_families
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import PALE, fitted, mixed, positive_axis
from bench.report.figures.titles import LONGEST, settings_of, title_of
from bench.text import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # rows
NAME, INK = 7.5, "#222222"
SPOT = "mean of the processes' medians"


class Panel(NamedTuple):
    """The fastest MOST cases of a device at its smallest batch; `left_out` is how many more."""

    title: str
    rows: list[Row]
    left_out: int
    families: Sequence[str]

    @property
    def marks(self) -> list[str]:
        """The marks of all rows, as in `doubts.marks`."""
        return [doubts.marks(row) for row in self.rows]


def panel(device: DeviceResults) -> Panel:
    """The rows of a device; none if no case was measured."""
    timed = [row for row in device.rows if row.summary]
    batch = min((row.case.batch for row in timed), default=1)
    found = sorted((row for row in timed if row.case.batch == batch), key=_latency)
    title = f"{fitted(device.label, LONGEST)}: {settings_of([row.case for row in found])}"
    return Panel(title, found[:MOST], len(found[MOST:]), known_families([device]))


def plot(axes: Axes, panel: Panel) -> None:
    """Draw a line per case: the name, the interval, the spot, and the latency in digits."""
    where = axes.get_yaxis_transform()
    for place, row in enumerate(panel.rows):
        family = naming.family(row.case).name
        colour = mixed(colour_of(family, panel.families), "white", PALE[doubts.level(row)])
        if row.interval:
            axes.plot(_ends(row), [place] * 2, color=colour, linewidth=1.8)
        axes.plot([_latency(row)], [place], "o", color=colour, markersize=5)
        text = significant(_latency(row)) + doubts.marks(row)
        axes.text(1.015, place, text, transform=where, fontsize=NAME, va="center", color=INK)
    ends = [end for row in panel.rows for end in _ends(row)]
    positive_axis(axes, min(ends), max(ends))
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(panel.rows)), [title_of(row) for row in panel.rows], fontsize=NAME)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def handles(panel: Panel) -> list[Line2D]:
    """Legend entries for the spots and, where there are any, the intervals."""
    found = [Line2D([], [], marker="o", linestyle="", color=INK, markersize=5, label=SPOT)]
    if any(row.interval for row in panel.rows):
        found.append(Line2D([], [], color=INK, linewidth=1.8, label="95 % interval"))
    return found


def _latency(row: Row) -> float:
    """Milliseconds: the mean of the processes' medians."""
    assert row.typical_s is not None
    return 1e3 * row.typical_s


def _ends(row: Row) -> tuple[float, float]:
    """The interval in milliseconds, above 0; twice the latency without one."""
    if row.interval is None:
        return (_latency(row),) * 2
    return max(1e3 * row.interval.low, _latency(row) / 10), 1e3 * row.interval.high

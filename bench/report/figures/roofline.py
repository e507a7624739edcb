"""Roofline plots of the operators in profiles. Pure.

attainable MAC/s = min(peak MAC/s, intensity in MAC/byte x peak bytes/s), after Williams, Waterman
and Patterson, Roofline: an insightful visual performance model for multicore architectures,
CACM 52(4), 2009, with multiply-accumulates in place of floating-point operations.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from bench.analysis.profile import summary
from bench.devices import has_queue
from bench.records import Peaks, Profile
from bench.report.figures.canvas import fitted, literal, painted
from bench.report.figures.figure5 import CATEGORY_COLOURS, HATCHES, doubt_notes, labels, titles
from bench.report.figures.titles import LONGEST
from bench.text import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 4
WIDTH, TOP, PANEL, LINE, SPACE = 9.5, 0.5, 3.3, 0.18, 0.3  # inches
LARGEST = 300.0  # area in square points of the operator that takes the most time
WRAP_NAME, WRAP_NOTE, LEGEND_COLUMNS = 44, 145, 4
ROOM = 1.8  # the axes extend beyond the points by this factor
ROOF_COLOUR = "#222222"


class Point(NamedTuple):
    """An operator: `intensity` in MAC/byte, speed in 10^9 MAC/s, and time in seconds."""

    category: str
    intensity: float
    gmacs_per_s: float
    time_s: float


def roofline(profiles: Sequence[Profile], peaks: Peaks, chip: str) -> dict[str, bytes]:
    """The operators below the roofline of `peaks`, with a panel for each of the first 4 profiles.

    Raises ValueError if no profile has the precision and threads of `peaks`.
    """
    fitting = [p for p in profiles if _key(p) == (peaks.precision, peaks.threads)]
    if not fitting:
        raise ValueError(f"no profile in {peaks.precision} on {peaks.threads} threads")
    shown, left_out = fitting[:PANELS], fitting[PANELS:]
    notes = _notes(shown, left_out)
    where = f"{fitted(chip, LONGEST)}, {peaks.precision}{_threads(peaks, shown)}"
    title = f"Roofline of {where}{_batch(shown)}"
    categories = _categories(shown)
    rows = -(-len(shown) // 2)
    below = LINE * (len(notes) + -(-len(categories) // LEGEND_COLUMNS)) + SPACE
    size = (WIDTH, TOP + PANEL * rows + below)
    return painted(lambda figure: paint(figure, shown, peaks, title, notes), size)


def paint(
    figure: Figure, profiles: Sequence[Profile], peaks: Peaks, title: str, notes: Sequence[str]
) -> None:
    """Draw the same on an existing figure; `peaks` apply to all profiles."""
    figure.suptitle(literal(title), fontsize=12)
    rows, columns = -(-len(profiles) // 2), min(len(profiles), 2)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.flat)
    longest_s = max((p.time_s for profile in profiles for p in points(profile)), default=1.0)
    batch_differs = not _batch(profiles)
    heads = labels(profiles, WRAP_NAME)
    for axes, profile, head in zip(panels, profiles, heads, strict=False):
        batch = _batch([profile]) if batch_differs else ""
        _panel(axes, profile, head + batch, longest_s)
    for axes in panels[len(profiles) :]:
        axes.remove()
        panels[1].tick_params(labelbottom=True)
    _scale(panels[0], profiles, peaks)
    for place, axes in enumerate(panels[: len(profiles)]):
        _roof(axes, peaks)
        if place % columns == 0:
            axes.set_ylabel("Reached (GMAC/s)", fontsize=9)
        if place + columns >= len(profiles):
            axes.set_xlabel("Operational intensity (MAC/byte)", fontsize=9)
    figure.legend(
        handles=[_handle(category) for category in _categories(profiles)],
        loc="outside lower left",
        ncols=LEGEND_COLUMNS,
        title=literal("\n".join(notes)),
        title_fontsize=8,
        alignment="left",
    )


def points(profile: Profile) -> list[Point]:
    """The operators whose MACs, bytes and time are known, the slowest first."""
    found = [
        Point(row.category, row.macs / row.bytes, row.macs / row.time_s * 1e-9, row.time_s)
        for row in profile.rows
        if row.macs and row.bytes and row.time_s > 0
    ]
    return sorted(found, key=lambda point: -point.time_s)


def _panel(axes: Axes, profile: Profile, head: str, longest_s: float) -> None:
    shown = points(profile)
    share = sum(point.time_s for point in shown) / profile.waterfall.plain_s
    latency = _ms(profile.waterfall.plain_s)
    of_it = f"these operators take {100 * share:.0f} % of the latency of {latency} ms"
    axes.set_title(f"{head}\n{of_it}", fontsize=9)
    for point in shown:
        round_ = _marker(point.category) == "o"
        axes.scatter(
            [point.intensity],
            [point.gmacs_per_s],
            # `s` is the marker's width squared; a disc fills only pi / 4 of that square
            s=LARGEST * point.time_s / longest_s * (1 if round_ else math.pi / 4),
            marker=_marker(point.category),
            color=CATEGORY_COLOURS[point.category],
            alpha=0.75,
            edgecolor="black",
            linewidth=0.5,
            zorder=3,
        )
    if not shown:
        axes.text(0.5, 0.5, "no operator with known MACs", transform=axes.transAxes, ha="center")


def _scale(axes: Axes, profiles: Sequence[Profile], peaks: Peaks) -> None:
    """Set logarithmic axes that include every point and the corner of the roofline."""
    shown = [point for profile in profiles for point in points(profile)]
    corner = peaks.macs_per_s / peaks.bytes_per_s
    across = [corner / 3, corner * 3, *(point.intensity for point in shown)]
    up = [peaks.macs_per_s * 1e-9, *(point.gmacs_per_s for point in shown)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(across) / ROOM, max(across) * ROOM)
    axes.set_ylim(min(up) / ROOM, max(up) * ROOM)
    for axis, values in ((axes.xaxis, across), (axes.yaxis, up)):
        wide = max(values) > 1e3 * min(values)
        axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:.10g}")
        axis.set_minor_locator(NullLocator())


def _roof(axes: Axes, peaks: Peaks) -> None:
    """Draw min(peak, intensity x bandwidth), and write the peak and the bandwidth."""
    left, right = axes.get_xlim()
    peak, slope = peaks.macs_per_s * 1e-9, peaks.bytes_per_s * 1e-9
    corner = peak / slope
    axes.plot([left, corner, right], [left * slope, peak, peak], color=ROOF_COLOUR, linewidth=1.4)
    style: dict[str, Any] = {"fontsize": 8, "color": ROOF_COLOUR, "textcoords": "offset points"}
    axes.annotate(f"{significant(peak)} GMAC/s", (corner, peak), (-2, 4), **style)
    bottom = max(axes.get_ylim()[0], left * slope)
    middle = math.sqrt(bottom * peak)
    axes.annotate(
        f"{significant(slope)} GB/s",
        (middle / slope, middle),
        (-4, 4),
        ha="right",
        va="bottom",
        **style,
    )
    axes.tick_params(labelsize=9)


def _handle(category: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="",
        marker=_marker(category),
        color=CATEGORY_COLOURS[category],
        markeredgecolor="black",
        markeredgewidth=0.5,
        markersize=8,
        label=category,
    )


def _marker(category: str) -> str:
    """A square for categories that Figure 5 hatches, because a small point has no room for it."""
    return "s" if category in HATCHES else "o"


def _categories(profiles: Sequence[Profile]) -> list[str]:
    occurring = {point.category for profile in profiles for point in points(profile)}
    return [category for category in summary.CATEGORIES if category in occurring]


def _notes(shown: Sequence[Profile], left_out: Sequence[Profile]) -> list[str]:
    longest = max((point.time_s for profile in shown for point in points(profile)), default=0.0)
    lines = [
        "Each point is an operator of a module. Its area is proportional to its time per "
        f"iteration (largest: {_ms(longest)} ms). Operators without multiply-accumulates (MAC) are "
        "not shown. A point above the roof read data from a cache, or was faster than the matrix "
        "product that measured the peak."
    ]
    lines += doubt_notes(shown)
    if left_out:
        lines.append(f"Not shown: {', '.join(titles(left_out))}")
    return [part for line in lines for part in textwrap.wrap(line, WRAP_NOTE)]


def _key(profile: Profile) -> tuple[str, int]:
    return (profile.case.precision, profile.case.threads)


def _threads(peaks: Peaks, shown: Sequence[Profile]) -> str:
    """The threads for the title; "" for a GPU, whose peaks do not depend on host threads."""
    if has_queue(shown[0].case.device):
        return ""
    return f", {peaks.threads} thread" + ("s" if peaks.threads > 1 else "")


def _batch(profiles: Sequence[Profile]) -> str:
    """The batch for the title; "" if the batches differ."""
    batches = {profile.case.batch for profile in profiles}
    return f", batch {batches.pop()}" if len(batches) == 1 else ""


def _ms(seconds: float) -> str:
    return significant(1e3 * seconds)

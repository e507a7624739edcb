"""Throughput over the batch size, a line for each network, with intervals, knees and crossovers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.batch_curve import Crossover, Curve, Spot
from bench.models import forms, naming
from bench.report import doubts
from bench.report.colours import colour_of, known_families, line_of
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import PALE, fitted, mixed, painted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 14  # curves in one picture; those with the highest throughput
MOST_CROSSINGS = 6  # more spans merge into one
SIZE = (8.5, 4.6)
LONGEST, LONGEST_TITLE = 44, 70
INK = "#222222"


def batch_curves(
    device: DeviceResults, found: Sequence[Curve], crossings: Sequence[Crossover]
) -> dict[str, bytes]:
    """PNG and SVG of the curves of a device, which are at least one."""
    chosen = sorted(found, key=lambda curve: -curve.highest.throughput)[:MOST]
    title = f"Throughput on {device.label}"
    if len(found) > MOST:
        title = f"{title}, {MOST} of {len(found)} networks"
    shown = crossings if len(crossings) <= MOST_CROSSINGS and len(found) <= MOST else []
    return painted(
        lambda figure: _paint(figure, title, known_families([device]), chosen, shown), SIZE
    )


def _paint(
    figure: Figure,
    title: str,
    families: Sequence[str],
    found: Sequence[Curve],
    crossings: Sequence[Crossover],
) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes: Axes = figure.subplots()
    for curve in found:
        _line(axes, curve, families)
    for crossing in crossings:
        axes.axvspan(crossing.before, crossing.after, color="#eeeeee", zorder=0)
        axes.axvline(crossing.point, color="#999999", linewidth=0.8, linestyle=":", zorder=1)
    sizes = sorted({spot.batch for curve in found for spot in curve.spots})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("Batch size (images per call)")
    axes.set_ylabel("Throughput (img/s)")
    axes.set_title(fitted(title, LONGEST_TITLE))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=8)


def _line(axes: Axes, curve: Curve, families: Sequence[str]) -> None:
    family = naming.family(curve.case).name
    colour, marker = colour_of(family, families), forms.find(curve.case.form).marker
    sizes = [spot.batch for spot in curve.spots]
    axes.plot(
        sizes,
        [spot.throughput for spot in curve.spots],
        color=colour,
        linestyle=line_of(family, families),
        linewidth=1.2,
        label=fitted(naming.title(curve.case), LONGEST),
        marker=marker.sign,
        markersize=4,
    )
    for spot in curve.spots:
        _spot(axes, spot, colour)
    if curve.knee:
        throughput = next(s.throughput for s in curve.spots if s.batch == curve.knee.point)
        axes.plot(
            [curve.knee.point], [throughput], "o", markersize=11, markerfacecolor="none", color=INK
        )


def _spot(axes: Axes, spot: Spot, colour: str) -> None:
    if spot.interval:
        pale = mixed(colour, "white", PALE[doubts.level(spot.row)])
        axes.plot(
            [spot.batch] * 2, [spot.interval.low, spot.interval.high], color=pale, linewidth=2
        )

"""Accuracy over latency, like the paper's Figure 1. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from bench.models import forms
from bench.models.forms import CIRCLE, Marker
from bench.models.naming import network_title
from bench.report.colours import Line, colour_of, known_families, line_of
from bench.report.devices import DeviceResults
from bench.report.figures import labels
from bench.report.figures.canvas import (
    PALE,
    fitted,
    mixed,
    painted,
    positive_axis,
)
from bench.report.figures.spots import BATCH, Panel, Spot, front, omission_notes, panel, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, MOST = 4, 50  # devices, spots per device
WIDTH, HEIGHT, HEIGHT_OF_SEVERAL, NOTE, TOP = 10.5, 7.0, 5.6, 0.16, 0.9  # inches
WRAP, LEGEND_COLUMNS = 150, 3
LONGEST_NAME, LONGEST_SIZE = 28, 12
RADIUS = 4.4  # points
NAME: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "va": "center", "zorder": 5}
BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
FILLS: dict[str, Any] = {"paper": "full", "timm": "none", "more data": "none", "measured": "bottom"}
SOURCES = {
    "timm": "accuracy published by timm",
    "more data": "accuracy published by timm, weights also trained on more data",
    "measured": "accuracy given by the user",
}
FRONT_COLOUR, GREY = "#f1e6c4", "#555555"
FRONT_ORDER = 1  # the front is drawn below everything else


def figure1(devices: Sequence[DeviceResults]) -> dict[str, bytes]:
    """Top-1 on ImageNet-1K over latency at batch 1, with a panel for each of the first 4 devices.

    A panel shows the device's eager fp32 cases at 224 pixels; a device without any shows its most
    frequent setting. A spot's latency is the mean of its processes' medians, which its interval
    belongs to. The Pareto front excludes INVALID cases and weights trained on more than
    ImageNet-1K. Returns {} if no measured case has a known accuracy.
    """
    panels = [found for found in (panel(each, MOST) for each in devices) if found.spots]
    if not panels:
        return {}
    shown = panels[:PANELS]
    notes = omission_notes(shown, panels[PANELS:], WRAP)
    height = HEIGHT if len(shown) == 1 else HEIGHT_OF_SEVERAL * len(shown)
    size = (WIDTH, height + TOP + NOTE * len(notes))
    families = known_families(devices)
    return painted(lambda figure: paint(figure, shown, families, notes), size)


def paint(
    figure: Figure, panels: Sequence[Panel], families: Sequence[str], notes: Sequence[str]
) -> None:
    """Draw the same on an existing figure."""
    found = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    looks = {
        family: (colour_of(family, families), line_of(family, families)) for family in families
    }
    tops = [spot.top1 for each in panels for spot in each.spots]
    room = max(0.07 * (max(tops) - min(tops)), 0.5)
    title = "Top-1 accuracy over latency"
    if len(panels) > 1:
        figure.suptitle(f"{title} at batch {BATCH}", fontsize=12)
    for axes, each in zip(found, panels, strict=True):
        axes.set_title(each.title if len(panels) > 1 else f"{title} on {each.title}")
        axes.set_ylim(min(tops) - room, max(tops) + room)
        _plot(axes, each.spots, looks)
    keys = _handles([spot for each in panels for spot in each.spots])
    figure.legend(
        handles=keys,
        labels=[str(signs[0].get_label()) for signs in keys],
        loc="outside lower left",
        ncols=LEGEND_COLUMNS,
        fontsize=8,
        title="\n".join(notes),
        title_fontsize=8,
        alignment="left",
    )
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # the positions of names need the final size of the panels
    for axes, each in zip(found, panels, strict=True):
        _write_names(axes, each.spots, looks)


def _plot(axes: Axes, spots: Sequence[Spot], looks: Mapping[str, tuple[str, Line]]) -> None:
    """Draw, from the bottom up: the front, lines of families, intervals, spots."""
    times = [spot.ms for spot in spots]
    positive_axis(axes, min(times), max(times))
    axes.set_xlabel(f"Latency at batch {BATCH} (ms), mean of the processes' medians")
    axes.set_ylabel(f"Top-1 on ImageNet-1K (%){_source(spots)}")
    if ahead := front(spots):
        along = [*(spot.ms for spot in ahead), axes.get_xlim()[1]]
        up = [*(spot.top1 for spot in ahead), ahead[-1].top1]
        axes.plot(along, up, drawstyle="steps-post", **_FRONT)
    for members in series(spots):
        colour, dashes = looks[members[0].family]
        axes.plot(
            [s.ms for s in members],
            [s.top1 for s in members],
            linestyle=dashes,
            color=mixed(colour, "white", 0.25),
            linewidth=1.2,
            zorder=2,
        )
    for spot in spots:
        colour = mixed(looks[spot.family][0], "white", PALE[spot.level])
        interval = spot.row.interval
        if interval:
            ends = [1e3 * interval.low, 1e3 * interval.high]
            axes.plot(np.clip(ends, *axes.get_xlim()), [spot.top1] * 2, color=colour, **_BAR)
        axes.plot([spot.ms], [spot.top1], zorder=4, **_marker(spot.form.marker, spot.fill, colour))
        if spot.fill == "more data":
            axes.plot([spot.ms], [spot.top1], zorder=4.5, color=colour, **_DOT)


def _source(spots: Sequence[Spot]) -> str:
    """Axis label: whether the paper reports the accuracy of all spots, some (filled), or none."""
    fills = {spot.fill for spot in spots}
    if "paper" not in fills:
        return ""
    return ",\nfilled: reported by the paper" if len(fills) > 1 else ",\nreported by the paper"


_FRONT: dict[str, Any] = {
    "color": FRONT_COLOUR,
    "linewidth": 8,
    "solid_capstyle": "butt",
    "solid_joinstyle": "round",
    "zorder": FRONT_ORDER,
}
_DOT: dict[str, Any] = {"marker": ".", "markersize": 3.6, "markeredgewidth": 0, "linestyle": ""}
_BAR: dict[str, Any] = {"linewidth": 2, "alpha": 0.4, "solid_capstyle": "butt", "zorder": 3}


def _marker(marker: Marker, fill: str, colour: str) -> dict[str, Any]:
    hollow = FILLS[fill] != "full"
    return {
        "marker": marker.sign,
        "markersize": marker.points - (0.8 if hollow else 0.0),
        "fillstyle": FILLS[fill] if FILLS[fill] != "none" else "full",
        "markerfacecolor": "white" if FILLS[fill] == "none" else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": colour if hollow else "white",
        "markeredgewidth": 1.3 if hollow else 0.6,
        "linestyle": "",
    }


def _write_names(axes: Axes, spots: Sequence[Spot], looks: Mapping[str, tuple[str, Line]]) -> None:
    """Write a name next to each spot: the size, or once per line the full name.

    `labels.places` finds positions without overlap; names without a position are counted in the
    axis label.
    """
    to_points = 72 / axes.figure.dpi
    corner = axes.bbox.min
    area = np.array(axes.bbox.size) * to_points

    def points(places: Any) -> Any:
        return (axes.transData.transform(places) - corner) * to_points

    where = points([(spot.ms, spot.top1) for spot in spots])
    texts, sizes = [], []
    for spot, name in zip(spots, _names(spots, where), strict=True):
        colour = mixed(looks[spot.family][0], "black", 0.3)
        text = axes.text(0, 0, name, color=colour, bbox=BEHIND, **NAME)
        text.set_transform(axes.transAxes)
        texts.append(text)
        sizes.append(np.array(text.get_window_extent().size) * to_points)
    lines = [points(line.get_xydata()) for line in axes.lines if line.get_zorder() > FRONT_ORDER]
    pieces = [pair for line in lines for pair in itertools.pairwise(line)]
    given = np.reshape(pieces, (-1, 2, 2))
    found = labels.places(where, RADIUS, np.array(sizes), (area[0], area[1]), given)
    for text, spot, place in zip(texts, where, found, strict=True):
        if place is None:
            text.remove()
            continue
        text.set_position((place.x / area[0], place.y / area[1]))
        if place.leader:
            ends = np.array([spot, place.leader]) / area
            axes.plot(*ends.T, transform=axes.transAxes, color=GREY, linewidth=0.5, zorder=2.5)
    if lost := found.count(None):
        axes.set_xlabel(f"{axes.get_xlabel()}; {lost} names omitted for lack of space")


def _names(spots: Sequence[Spot], where: Any) -> list[str]:
    """The name of each spot: the full name at the spot of a line with the most room, else its size.

    `where` (n, 2): the positions of the spots in points.
    """
    apart = np.linalg.norm(where[:, None] - where[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    room = apart.min(axis=1)
    widest: dict[tuple[str, str], int] = {}
    for i, spot in enumerate(spots):
        line = (spot.family, spot.row.case.form)
        if line not in widest or room[i] > room[widest[line]]:
            widest[line] = i
    whole = set(widest.values())
    return [
        fitted(spot.size, LONGEST_SIZE)
        if spot.size and i not in whole
        else fitted(network_title(spot.row.case.model, spot.row.case.form), LONGEST_NAME)
        for i, spot in enumerate(spots)
    ]


def _handles(spots: Sequence[Spot]) -> list[tuple[Line2D, ...]]:
    """Legend entries for the forms, fills, shades and lines that occur.

    An entry is a tuple of artists, drawn on top of each other.
    """
    shown = forms.in_order({spot.row.case.form for spot in spots})
    markers = {fitted(form.label, LONGEST_NAME): form.marker for form in shown}
    fills = {spot.fill for spot in spots}
    levels = {spot.level for spot in spots}
    handles = [
        Line2D([], [], label=label, **_marker(marker, "paper", GREY))
        for label, marker in markers.items()
    ]
    handles += [
        Line2D([], [], label=words, **_marker(CIRCLE, fill, GREY))
        for fill, words in SOURCES.items()
        if fill in fills
    ]
    handles += [
        Line2D([], [], label=level, **_marker(CIRCLE, "paper", mixed(GREY, "white", PALE[level])))
        for level in PALE
        if level in levels and level != "VALID"
    ]
    if any(spot.row.interval for spot in spots):
        handles.append(Line2D([], [], label="95 % interval of the latency", color=GREY, **_BAR))
    if any(spot.counts for spot in spots):
        apart = ["INVALID"] * ("INVALID" in levels) + ["more data"] * ("more data" in fills)
        words = "Pareto front" + (f", excluding {' and '.join(apart)}" if apart else "")
        handles.append(Line2D([], [], label=words, **_FRONT))
    dot = Line2D([], [], color=GREY, **_DOT)
    dotted = SOURCES["more data"]
    return [(each, dot) if each.get_label() == dotted else (each,) for each in handles]

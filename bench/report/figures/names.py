"""The names next to the spots of Figure 1: a family once, else the sizes. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.models.naming import network_title
from bench.report.figures import labels
from bench.report.figures.canvas import fitted, readable
from bench.report.figures.spots import Spot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

Points = NDArray[np.float64]

LONGEST_NAME, LONGEST_SIZE = 60, 12  # letters
RADIUS = 4.4  # points: of a spot
LOWEST = 1.0  # names avoid lines above this zorder
LEADER: dict[str, Any] = {"color": "#555555", "linewidth": 0.5, "zorder": 2.5}
NAME: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "va": "center", "zorder": 5}
BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def write(axes: Axes, spots: Sequence[Spot], colours: Mapping[str, str]) -> list[str]:
    """Write a name next to each spot, without overlap; return the names that have no room.

    `colours` are those of the families. The layout of the figure must be final.
    """
    where, area = _in_points(axes)
    at = where([(spot.ms, spot.top1) for spot in spots])
    drawn = [where(line.get_xydata()) for line in axes.lines if line.get_zorder() > LOWEST]
    lines = np.reshape([pair for line in drawn for pair in itertools.pairwise(line)], (-1, 2, 2))
    names = names_of(spots, at)
    texts = [
        axes.text(0, 0, name, color=readable(colours[spot.family]), bbox=BEHIND, **NAME)
        for spot, name in zip(spots, names, strict=True)
    ]
    sizes = np.array([text.get_window_extent().size for text in texts]) * 72 / axes.figure.dpi
    found = labels.places(at, RADIUS, sizes, (area[0], area[1]), lines)
    return [
        name
        for text, name, spot, place in zip(texts, names, at, found, strict=True)
        if not _placed(axes, text, spot, area, place)
    ]


def clear(axes: Axes) -> None:
    """Remove what `write` has written."""
    for text in list(axes.texts):
        text.remove()
    for line in list(axes.lines):
        if line.get_zorder() == LEADER["zorder"]:
            line.remove()


def names_of(spots: Sequence[Spot], at: Points) -> list[str]:
    """The name of each spot: the network at the spot of a family with the most room, else its size.

    A spot without a size has the label of its form. `at` (n, 2): the positions of the spots, in
    points. Of spots with equal room, to a point, the first is taken.
    """
    apart = np.linalg.norm(at[:, None] - at[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    room = apart.min(axis=1).round()
    widest: dict[str, int] = {}
    for i, spot in enumerate(spots):
        if spot.family not in widest or room[i] > room[widest[spot.family]]:
            widest[spot.family] = i
    return [
        fitted(network_title(case.model, case.form, case.label), LONGEST_NAME)
        if widest[spot.family] == i
        else fitted(spot.size or spot.form.label, LONGEST_SIZE)
        for i, (spot, case) in enumerate((spot, spot.row.case) for spot in spots)
    ]


def _in_points(axes: Axes) -> tuple[Callable[[Any], Points], Points]:
    """The transform from data to points from the corner of the axes, and the size of the axes."""
    to_points, corner = 72 / axes.figure.dpi, axes.bbox.min

    def where(places: Any) -> Points:
        return np.asarray((axes.transData.transform(places) - corner) * to_points)

    return where, np.array(axes.bbox.size) * to_points


def _placed(axes: Axes, text: Text, spot: Points, area: Points, place: labels.Place | None) -> bool:
    """Move a name to its place, with its leader, or remove it; whether it has a place."""
    if place is None:
        text.remove()
        return False
    text.set_transform(axes.transAxes)
    text.set_position((place.x / area[0], place.y / area[1]))
    if place.leader:
        ends = np.array([spot, place.leader]) / area
        axes.plot(*ends.T, transform=axes.transAxes, **LEADER)
    return True

"""Accuracy over latency, like the paper's Figure 1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from bench.models import forms
from bench.models.forms import Marker
from bench.report.colours import colour_of, known_families, line_of
from bench.report.devices import DeviceResults
from bench.report.figures import names, scale
from bench.report.figures.canvas import PALE, fitted, mixed, painted
from bench.report.figures.spots import (
    BATCH,
    LONGEST_BAR,
    Panel,
    Spot,
    front,
    omission_notes,
    panel,
    series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, MOST = 4, 50  # devices, spots per device
WIDTH, HEIGHT, HEIGHT_OF_SEVERAL, NOTE, TOP = 10.5, 7.0, 5.6, 0.16, 0.9  # inches
WRAP, LEGEND_COLUMNS = 150, 3
LEAST_MARGIN = 0.006  # above and below the accuracies: half a point at 83 %
LONGEST_LABEL = 28  # letters of a form
GROWTH, MOST_GROWTHS = 1.25, 4
TITLE = "Top-1 accuracy over latency"
CUT = f"interval beyond {LONGEST_BAR:g} times the latency, or a {LONGEST_BAR:g}th of it"
FILLS: dict[str, Any] = {
    "paper": "full",
    "timm": "none",
    "more data": "none",
    "measured": "bottom",
    "evaluated": "top",
}
SOURCES = {
    "timm": "accuracy published by timm",
    "more data": "accuracy published by timm, weights also trained on more data",
    "measured": "accuracy given by the user",
    "evaluated": "accuracy measured here",
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
    """Draw the same on an existing figure, which grows until every spot has room for its name."""
    found = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    every = [spot for each in panels for spot in each.spots]
    tops = scale.scale_of(
        [(spot.top1, spot.top1) for spot in every], may_be_log=False, least_margin=LEAST_MARGIN
    )
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=12)
    for axes, each in zip(found, panels, strict=True):
        axes.set_title(f"{each.title}: {each.settings}", loc="left", fontsize=9)
        scale.apply(axes, "y", tops)
        plot(axes, each.spots, families)
    keys = handles(every)
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
    colours = {family: colour_of(family, families) for family in families}
    write_names(figure, dict(zip(found, panels, strict=True)), colours)


def write_names(figure: Figure, panels: Mapping[Axes, Panel], colours: Mapping[str, str]) -> None:
    """Write all names; the figure grows until they fit, up to MOST_GROWTHS times."""
    for growths in range(MOST_GROWTHS + 1):
        figure.set_layout_engine("constrained")
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # the positions of names need the final size of the panels
        lost = {axes: names.write(axes, each.spots, colours) for axes, each in panels.items()}
        if growths == MOST_GROWTHS or not any(lost.values()):
            break
        for axes in panels:
            names.clear(axes)
        figure.set_figheight(GROWTH * figure.get_figheight())
    for axes, left in lost.items():
        if left:
            axes.set_xlabel(f"{axes.get_xlabel()}; {len(left)} names omitted for lack of space")


def plot(axes: Axes, spots: Sequence[Spot], families: Sequence[str]) -> None:
    """Draw, from the bottom up: the front, lines of families, intervals, spots."""
    scale.apply(axes, "x", scale.scale_of([spot.ends_ms for spot in spots], may_be_log=True))
    axes.set_xlabel(f"Latency at batch {BATCH} (ms), mean of the processes' medians")
    axes.set_ylabel(f"Top-1 on ImageNet-1K (%){_source(spots)}")
    if ahead := front(spots):
        along = [*(spot.ms for spot in ahead), axes.get_xlim()[1]]
        up = [*(spot.top1 for spot in ahead), ahead[-1].top1]
        axes.plot(along, up, drawstyle="steps-post", **_FRONT)
    for members in series(spots):
        family = members[0].family
        axes.plot(
            [s.ms for s in members],
            [s.top1 for s in members],
            linestyle=line_of(family, families),
            color=mixed(colour_of(family, families), "white", 0.25),
            linewidth=1.2,
            zorder=2,
        )
    for spot in spots:
        _draw(axes, spot, mixed(colour_of(spot.family, families), "white", PALE[spot.level]))


def _draw(axes: Axes, spot: Spot, colour: str) -> None:
    """Draw a spot and its interval; an arrow where the interval is cut."""
    if spot.row.interval:
        axes.plot(spot.ends_ms, [spot.top1] * 2, color=colour, **_BAR)
        for end, is_cut, sign in zip(spot.ends_ms, spot.is_cut, "<>", strict=True):
            if is_cut:
                axes.plot([end], [spot.top1], marker=sign, color=colour, **_ARROW)
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
_BAR: dict[str, Any] = {"linewidth": 1.6, "alpha": 0.5, "solid_capstyle": "butt", "zorder": 3}
_ARROW: dict[str, Any] = {"linestyle": "", "markersize": 4, "markeredgewidth": 0, "zorder": 3.5}


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


def handles(spots: Sequence[Spot]) -> list[tuple[Line2D, ...]]:
    """Legend entries for the forms, fills, shades and lines that occur, with a mark that occurs.

    An entry is a tuple of artists, drawn on top of each other.
    """
    order = sorted(spots, key=lambda spot: list(FILLS).index(spot.fill))
    fills = {spot.fill: spot for spot in reversed(order)}
    levels = {spot.level: spot for spot in reversed(order)}
    handles: list[Line2D] = []
    for form in forms.in_order({spot.row.case.form for spot in spots}):
        fill = next(spot.fill for spot in order if spot.form == form)
        label = fitted(form.label, LONGEST_LABEL)
        if label not in [each.get_label() for each in handles]:
            handles.append(Line2D([], [], label=label, **_marker(form.marker, fill, GREY)))
    handles += [
        Line2D([], [], label=words, **_marker(fills[fill].form.marker, fill, GREY))
        for fill, words in SOURCES.items()
        if fill in fills
    ]
    for level in [level for level in PALE if level in levels and level != "VALID"]:
        shade, spot = mixed(GREY, "white", PALE[level]), levels[level]
        look = _marker(spot.form.marker, spot.fill, shade)
        handles.append(Line2D([], [], label=level, **look))
    if any(spot.row.interval for spot in spots):
        some = "" if all(spot.row.interval for spot in spots) else ", from three processes on"
        words = f"95 % interval of the latency{some}"
        handles.append(Line2D([], [], label=words, color=GREY, **_BAR))
    if any(True in spot.is_cut for spot in spots):
        handles.append(Line2D([], [], label=CUT, marker=">", color=GREY, **_ARROW))
    if any(spot.counts for spot in spots):
        apart = ["INVALID"] * ("INVALID" in levels) + ["more data"] * ("more data" in fills)
        words = "Pareto front" + (f", excluding {' and '.join(apart)}" if apart else "")
        handles.append(Line2D([], [], label=words, **_FRONT))
    dot = Line2D([], [], color=GREY, **_DOT)
    dotted = SOURCES["more data"]
    return [(each, dot) if each.get_label() == dotted else (each,) for each in handles]

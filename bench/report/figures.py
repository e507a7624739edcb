"""Pictures, drawn from rows and nothing else: the same rows give the same bytes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

from bench.report.canvas import COLOURS, drawn, literal
from bench.report.rows import Row
from bench.text import FORM_SUFFIX, display, setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = ("-", "--")
MARKERS = {"plain": "o", "train": "o", "rrep": "s", "rrep_fc": "D", "srep": "^"}
MARKER_PX = 7
LOG_SPREAD = 8.0  # latencies further apart than this are drawn on a logarithmic axis
WRAP = 100
# Where a label may go, in points from its marker; the first that overlaps nothing is taken.
LABEL_OFFSETS = [(0, 7), (0, -14), (14, -3), (-14, -3), (12, 7), (-12, 7), (12, -14), (-12, -14)]
LABEL_OFFSETS += [(0, 18), (0, -25), (18, 14), (-18, 14), (0, 29), (0, -36)]


def figure1(rows: Sequence[Row]) -> bytes:
    """Accuracy over latency at batch 1: a PNG. The sizes of a family in one form share a line.

    Accuracy is the paper's; models without one, and those that failed, are named below.
    """
    timed = [row for row in rows if row.case.batch == 1]
    shown = [row for row in timed if row.summary and row.accuracy()]

    def draw(axes: Axes) -> None:
        axes.set_title(literal(f"Accuracy over latency on {rows[0].chip.name}"))
        below = ["Latency at batch 1 (ms), mean", *_left_out(timed)]
        axes.set_xlabel(literal("\n".join(below)))
        axes.set_ylabel("Top-1 on ImageNet-1K (%),\nas the paper reports it")
        _plot(axes, shown)

    return drawn(draw)


def _plot(axes: Axes, rows: Sequence[Row]) -> None:
    """A line for each form of each family, its sizes as spots on it (as in the paper's Fig. 1)."""
    if not rows:
        axes.text(
            0.5, 0.5, "nothing measured has an accuracy", transform=axes.transAxes, ha="center"
        )
        return
    families = list(dict.fromkeys(_family(row)[0] for row in rows))
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(_series(row), []).append(row)
    for name, members in series.items():
        index = families.index(_family(members[0])[0])
        members.sort(key=_latency_ms)
        axes.plot(
            [_latency_ms(row) for row in members],
            [_top1(row) for row in members],
            LINES[index // len(COLOURS) % len(LINES)],
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS.get(members[0].case.form, "o"),
            markersize=7,
            linewidth=1.3,
            label=name,
        )
    latencies = [_latency_ms(row) for row in rows]
    if max(latencies) > LOG_SPREAD * min(latencies):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(left=0)
    axes.margins(x=0.08, y=0.12)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    _label_sizes(axes, rows)


def _label_sizes(axes: Axes, rows: Sequence[Row]) -> None:
    """Write each spot's size near its marker, where no other text or marker is."""
    axes.figure.canvas.draw()
    points = [(_latency_ms(row), _top1(row)) for row in rows]
    taken = [
        Bbox.from_bounds(x - MARKER_PX, y - MARKER_PX, 2 * MARKER_PX, 2 * MARKER_PX)
        for x, y in axes.transData.transform(points)
    ]
    for row, point in zip(rows, points, strict=True):
        label = axes.annotate(
            literal(_family(row)[1]),
            point,
            xytext=LABEL_OFFSETS[0],
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#444444",
        )
        for offset in LABEL_OFFSETS:
            label.set_position(offset)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
        else:
            label.remove()  # the legend and the tables still name it


def _top1(row: Row) -> float:
    known = row.accuracy()
    assert known is not None
    return known.top1


def _latency_ms(row: Row) -> float:
    assert row.summary is not None
    return row.summary.mean * 1e3


def _family(row: Row) -> tuple[str, str]:
    """`ConvNeXt-T` to (`ConvNeXt`, `T`), `ResNet50` to (`ResNet`, `50`)."""
    name = display(row.case.model, "plain")
    family, dash, size = name.rpartition("-")
    if dash:
        return family, size
    found = re.fullmatch(r"(.*\D)(\d+)", name)
    return (found[1], found[2]) if found else (name, "")


def _series(row: Row) -> str:
    """The family, its form, and what sets the cases apart from plain fp32 ones."""
    form = FORM_SUFFIX.get(row.case.form, "")
    return literal(_family(row)[0] + form + _setting(row))


def _name(row: Row) -> str:
    """The model with its form, and what sets the case apart from the plain fp32 one."""
    return display(row.case.model, row.case.form) + _setting(row)


def _setting(row: Row) -> str:
    """Backend, precision, resolution and threads, as far as they are not the usual ones."""
    case = row.case
    unusual = case.device == "cpu" and case.threads != row.chip.threads
    threads = f" {case.threads} threads" if unusual else ""
    return setting(case.backend, case.precision, case.resolution) + threads


def _left_out(rows: Sequence[Row]) -> list[str]:
    """Lines that name what the picture has no place for."""
    unknown = [_name(row) for row in rows if row.summary and not row.accuracy()]
    failed = [_name(row) for row in rows if not row.summary]
    lines = []
    if unknown:
        lines.append("Not shown, no accuracy in the paper: " + ", ".join(unknown))
    if failed:
        lines.append("Not shown, failed: " + ", ".join(failed))
    return [part for line in lines for part in textwrap.wrap(line, WRAP)]

"""Pictures, drawn from rows and nothing else: the same rows give the same bytes."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

from bench.report.rows import Row
from bench.text import FORM_SUFFIX, display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, legible with any colour vision; a second turn is dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--")
MARKERS = {"plain": "o", "train": "o", "rrep": "s", "rrep_fc": "D", "srep": "^"}
MARKER_PX = 7
LOG_SPREAD = 8.0  # latencies further apart than this are drawn on a logarithmic axis
WRAP = 100
USUAL = ("eager", "fp32")
USUAL_RESOLUTION = 224
STYLE: Any = {
    "figure.figsize": (9.0, 5.0),
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
# Where a label may go, in points from its marker; the first that overlaps nothing is taken.
LABEL_OFFSETS = [(0, 7), (0, -14), (14, -3), (-14, -3), (12, 7), (-12, 7), (12, -14), (-12, -14)]
LABEL_OFFSETS += [(0, 18), (0, -25), (18, 14), (-18, 14), (0, 29), (0, -36)]


def figure1(rows: Sequence[Row]) -> bytes:
    """Accuracy over latency at batch 1: a PNG. The sizes of a family in one form share a line.

    Accuracy is the paper's; models without one, and those that failed, are named below.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    timed = [row for row in rows if row.case.batch == 1]
    shown = [row for row in timed if row.summary and row.top1 is not None]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(layout="constrained")
        try:
            axes.set_title(_literal(f"Accuracy over latency on {rows[0].chip.name}"))
            below = ["Latency at batch 1 (ms), mean", *_left_out(timed)]
            axes.set_xlabel(_literal("\n".join(below)))
            axes.set_ylabel("Top-1 on ImageNet-1K (%),\nas the paper reports it")
            _plot(axes, shown)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", metadata={"Software": None})
        finally:
            pyplot.close(figure)
    return buffer.getvalue()


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
            [row.top1 or 0.0 for row in members],
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
    points = [(_latency_ms(row), row.top1 or 0.0) for row in rows]
    taken = [
        Bbox.from_bounds(x - MARKER_PX, y - MARKER_PX, 2 * MARKER_PX, 2 * MARKER_PX)
        for x, y in axes.transData.transform(points)
    ]
    for row, point in zip(rows, points, strict=True):
        label = axes.annotate(
            _literal(_family(row)[1]),
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
    return _literal(_family(row)[0] + form + _setting(row))


def _name(row: Row) -> str:
    """The model with its form, and what sets the case apart from the plain fp32 one."""
    return display(row.case.model, row.case.form) + _setting(row)


def _setting(row: Row) -> str:
    """Backend, precision, resolution and threads, as far as they are not the usual ones."""
    extra = [value for value in (row.case.backend, row.case.precision) if value not in USUAL]
    if row.case.resolution != USUAL_RESOLUTION:
        extra.append(f"{row.case.resolution}²")
    if row.case.device == "cpu" and row.case.threads != row.chip.threads:
        extra.append(f"{row.case.threads} threads")
    return "".join(f" {word}" for word in extra)


def _literal(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _left_out(rows: Sequence[Row]) -> list[str]:
    """Lines that name what the picture has no place for."""
    unknown = [_name(row) for row in rows if row.summary and row.top1 is None]
    failed = [_name(row) for row in rows if not row.summary]
    lines = []
    if unknown:
        lines.append("Not shown, no accuracy in the paper: " + ", ".join(unknown))
    if failed:
        lines.append("Not shown, failed: " + ", ".join(failed))
    return [part for line in lines for part in textwrap.wrap(line, WRAP)]

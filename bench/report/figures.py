"""Pictures, drawn from rows and nothing else: the same rows give the same bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.transforms import Bbox

from bench.report.rows import Row
from bench.text import display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, legible with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKER_PX = 9
WRAP = 100
USUAL = ("eager", "fp32")
USUAL_RESOLUTION = 224
STYLE: Any = {
    "figure.figsize": (8.0, 5.0),
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}
# Where a label may go, in points from its marker; the first that overlaps nothing is taken.
LABEL_OFFSETS = [
    (dx, dy) for dy in (9, -15, 22, -28, 35, -41, 48, -54) for dx in (0, 30, -30, 60, -60)
]


def figure1(rows: Sequence[Row]) -> bytes:
    """Accuracy over latency at batch 1: a PNG. The forms of one model are joined by a line.

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
    if not rows:
        axes.text(
            0.5, 0.5, "nothing measured has an accuracy", transform=axes.transAxes, ha="center"
        )
        return
    models = list(dict.fromkeys(row.case.model for row in rows))
    for i, model in enumerate(models):
        chain = [row for row in rows if row.case.model == model]
        x = [row.summary.mean * 1e3 for row in chain if row.summary]
        y = [row.top1 for row in chain if row.top1 is not None]
        axes.plot(x, y, "o-", color=COLOURS[i % len(COLOURS)], markersize=8, linewidth=1.5)
    axes.margins(x=0.12, y=0.18)
    axes.set_xlim(left=0)
    _label(axes, rows, {model: COLOURS[i % len(COLOURS)] for i, model in enumerate(models)})


def _label(axes: Axes, rows: Sequence[Row], colours: dict[str, str]) -> None:
    """Write each row's name near its marker, where no other name or marker is."""
    figure = axes.figure
    figure.canvas.draw()
    points = [(row.summary.mean * 1e3, row.top1 or 0.0) for row in rows if row.summary]
    taken = [
        Bbox.from_bounds(x - MARKER_PX, y - MARKER_PX, 2 * MARKER_PX, 2 * MARKER_PX)
        for x, y in axes.transData.transform(points)
    ]
    for row, point in zip(rows, points, strict=True):
        label = axes.annotate(
            _literal(_name(row)),
            point,
            xytext=LABEL_OFFSETS[0],
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=colours[row.case.model],
        )
        for offset in LABEL_OFFSETS:
            label.set_position(offset)
            box = label.get_window_extent()
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _name(row: Row) -> str:
    """The model's name, with what sets the case apart from the plain fp32 one."""
    extra = [value for value in (row.case.backend, row.case.precision) if value not in USUAL]
    if row.case.resolution != USUAL_RESOLUTION:
        extra.append(f"{row.case.resolution}²")
    if row.case.device == "cpu" and row.case.threads != row.chip.threads:
        extra.append(f"{row.case.threads} threads")
    return " ".join([display(row.case.model, row.case.form), *extra])


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

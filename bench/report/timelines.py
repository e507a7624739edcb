"""The pages of `bench history`: Markdown, JSON, a picture, and metrics for a dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.stats import MARGIN, Finding
from bench.analysis.timeline import Point, Timeline
from bench.models import naming
from bench.report.figures.canvas import fitted, painted
from bench.report.figures.forest import FINDING_COLOURS
from bench.report.tables.markdown import to_markdown_table
from bench.storage.pages import write_pages
from bench.text import NOTHING, markdown, milliseconds, significant, to_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NANOSECOND = 1e-9
WIDTH, HEIGHT, MOST_LABELS, LONGEST_LABEL = 9.0, 3.4, 24, 18
MOST_CHANGES = 3  # named in a cell


def write(found: Sequence[Timeline], folder: Path, margin: float) -> list[Path]:
    """Write `history.md`, `history.json` and `history.png`. Raises UsageError."""
    pages = {
        "history.md": (to_markdown(found, margin) + "\n").encode(),
        "history.json": (to_json(to_builtins(found), indent=2) + "\n").encode(),
        "history.png": picture(found),
    }
    return write_pages(folder, pages)


def write_metrics(found: Sequence[Timeline], path: Path) -> None:
    """Write the metrics of the newest points to a file. Raises UsageError."""
    write_pages(path.parent, {path.name: (to_json(metrics(found), indent=2) + "\n").encode()})


def metrics(found: Sequence[Timeline]) -> dict[str, dict[str, dict[str, float]]]:
    """The newest point of each case in Bencher's metric format, for `bencher run --adapter json`.

    `latency` is in nanoseconds and `throughput` in images per second, with the ends of their 95 %
    intervals as `lower_value` and `upper_value`. Source: https://bencher.dev/docs/reference/
    bencher-metric-format.
    """
    return {_name(each): _metrics_of(each.points[-1]) for each in found}


def _metrics_of(point: Point) -> dict[str, dict[str, float]]:
    latency, images = {"value": point.latency_s / NANOSECOND}, point.case.batch
    throughput = {"value": images / point.latency_s}
    if point.interval:
        low, high = point.interval.low, point.interval.high
        latency |= {"lower_value": low / NANOSECOND, "upper_value": high / NANOSECOND}
        throughput |= {"lower_value": images / high, "upper_value": images / low}
    return {"latency": latency, "throughput": throughput}


def _name(timeline: Timeline) -> str:
    return f"{naming.selector(timeline.case, batch=True)} on {timeline.chip.name}"


def to_builtins(found: Sequence[Timeline]) -> list[dict[str, object]]:
    """For JSON: seconds, and [point, low, high] of a ratio to the reference."""
    return [
        {
            "case": naming.selector(each.case, batch=True),
            "chip": each.chip.name,
            "points": [
                {
                    "label": point.label,
                    "started_at": point.started_at,
                    "case_id": point.case.case_id,
                    "environment_id": point.environment.environment_id,
                    "latency_s": point.latency_s,
                    "interval_s": point.interval,
                    "verdict": point.verdict.level,
                    "changes": point.changes,
                    "reference": point.reference or None,
                    "ratio": point.against.ratio if point.against else None,
                    "finding": _finding(point),
                    "is_change": point.is_change,
                }
                for point in each.points
            ],
        }
        for each in found
    ]


def _finding(point: Point) -> Finding | None:
    if point.verdict.level == "INVALID":
        return "INVALID"
    return point.against.finding if point.against else None


def to_markdown(found: Sequence[Timeline], margin: float = MARGIN) -> str:
    """Per case: a sentence on the changes, and a table with a line for each point."""
    return "\n\n".join(part for each in found for part in _parts(each, margin))


def _parts(timeline: Timeline, margin: float) -> list[str]:
    frame = pd.DataFrame([_line(point) for point in timeline.points])
    return [
        f"# {markdown(_name(timeline))}",
        markdown(sentence(timeline)),
        to_markdown_table(frame),
        "The ratio is the latency / that of the reference: the first point, or the last one at "
        "which a change was decided: the 95 % interval of the ratio is wholly beyond "
        f"{100 * margin:g} %. Points of different times are compared with the drift of the machine "
        "in their interval.",
    ]


def sentence(timeline: Timeline) -> str:
    """What happened, in one sentence."""
    changes = [point for point in timeline.points if point.is_change]
    count = len(timeline.points)
    if count == 1:
        return "One point: measure again after a change, then there is a history."
    if not changes:
        return f"No change is decided over {count} points."
    told = "; ".join(_change(point) for point in changes)
    return f"{count} points, {len(changes)} decided: {told}."


def _change(point: Point) -> str:
    assert point.against is not None
    ratio = point.against.ratio
    how = f"{point.against.finding} than {point.reference}"
    by = f" by {ratio.point:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
    why = f" (different: {', '.join(point.differs[:MOST_CHANGES])})" if point.differs else ""
    return f"{point.label} is {how}{by}{why}"


def _line(point: Point) -> dict[str, str]:
    ends = [point.interval.low, point.interval.high] if point.interval else []
    shown = [significant(milliseconds(end)) for end in ends]
    ratio = point.against.ratio if point.against else None
    more = len(point.changes) - MOST_CHANGES
    changes = ", ".join(point.changes[:MOST_CHANGES]) + (f" and {more} more" if more > 0 else "")
    return {
        "Point": markdown(point.label),
        "Latency (ms)": significant(milliseconds(point.latency_s)),
        "95 % interval": " to ".join(shown) or NOTHING,
        "Reference": markdown(point.reference) or NOTHING,
        "Ratio": f"{ratio.point:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else NOTHING,
        "Finding": _finding(point) or NOTHING,
        "Verdict": point.verdict.level,
        "What changed": markdown(changes) or NOTHING,
    }


def picture(found: Sequence[Timeline]) -> bytes:
    """The PNG: a panel for each case, with its points in order, and decided changes marked."""

    def paint(figure: object) -> None:
        panels = figure.subplots(len(found), 1, squeeze=False)  # type: ignore[attr-defined]
        for axes, timeline in zip(panels[:, 0], found, strict=True):
            _panel(axes, timeline)

    return painted(paint, (WIDTH, HEIGHT * len(found)), ("png",))["png"]


def _panel(axes: Axes, timeline: Timeline) -> None:
    points = timeline.points
    for place, point in enumerate(points):
        colour = FINDING_COLOURS[_finding(point) or "SAME"] if place else "#0072B2"
        if point.interval:
            ends = [1e3 * point.interval.low, 1e3 * point.interval.high]
            axes.plot([place, place], ends, color=colour, linewidth=2)
        axes.plot([place], [1e3 * point.latency_s], "o", color=colour, markersize=6)
        if point.is_change:
            axes.axvline(place - 0.5, color=colour, linewidth=1, linestyle="--")
    findings = [found for point in points[1:] if (found := _finding(point))]
    for finding in dict.fromkeys(findings):
        axes.plot([], [], "o-", color=FINDING_COLOURS[finding], label=finding)
    if len(points) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    step = -(-len(points) // MOST_LABELS)
    shown = range(0, len(points), step)
    labels = [fitted(points[place].label, LONGEST_LABEL) for place in shown]
    axes.set_xticks(list(shown), labels, rotation=30, ha="right")
    axes.set_xlim(-0.6, len(points) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Latency (ms)")
    axes.set_title(fitted(_name(timeline), 70))

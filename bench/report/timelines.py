"""The pages of `bench history`: Markdown, JSON, a picture, and metrics for a dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.stats import MARGIN, Finding
from bench.analysis.timeline import Point, Timeline
from bench.errors import UsageError
from bench.models import naming
from bench.report.figures.canvas import fitted, painted
from bench.report.figures.forest import FINDING_COLOURS
from bench.report.tables.markdown import to_markdown_table
from bench.storage.pages import write_pages
from bench.text import NOTHING, between, markdown, milliseconds, significant, to_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NANOSECOND = 1e-9
WIDTH, HEIGHT, MOST_LABELS, LONGEST_LABEL = 9.0, 3.4, 24, 18
LONGEST_NAME = 70
MOST_CHANGES = 3  # named in a cell
HOW_TO_READ = (
    "The ratio is the latency / that of the reference. The reference is the first point, or the "
    "last one at which a change was decided. A change is decided where the 95 % interval of the "
    "ratio is wholly beyond {margin:g} %. Points of different times are compared with the drift of "
    "the machine in their interval."
)


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
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "Name a file for the metrics.")
    write_pages(path.parent, {path.name: (to_json(metrics(found), indent=2) + "\n").encode()})


def metrics(found: Sequence[Timeline]) -> dict[str, dict[str, dict[str, float]]]:
    """The newest point of each case in Bencher's metric format, for `bencher run --adapter json`.

    `latency` is in nanoseconds and `throughput` in images per second, with the ends of their 95 %
    intervals as `lower_value` and `upper_value`. INVALID points are left out. Source:
    https://bencher.dev/docs/reference/bencher-metric-format.
    """
    newest = {
        name: point
        for name, timeline in zip(names(found), found, strict=True)
        for point in timeline.points
        if point.verdict.level != "INVALID"
    }
    return {name: _metrics_of(point) for name, point in newest.items()}


def without_metrics(found: Sequence[Timeline]) -> list[str]:
    """The names of the cases of which every point is INVALID."""
    known = metrics(found)
    return [name for name in names(found) if name not in known]


def names(found: Sequence[Timeline]) -> list[str]:
    """A name for each timeline, each another: the threads and the case_id where it needs them."""
    usual = [_name(each) for each in found]
    return [
        name if usual.count(name) == 1 else f"{name}, {each.points[-1].case.case_id}"
        for name, each in zip(usual, found, strict=True)
    ]


def _metrics_of(point: Point) -> dict[str, dict[str, float]]:
    latency, images = {"value": point.latency_s / NANOSECOND}, point.case.batch
    throughput = {"value": images / point.latency_s}
    if point.interval:
        low, high = point.interval.low, point.interval.high
        latency |= {"lower_value": low / NANOSECOND, "upper_value": high / NANOSECOND}
        throughput |= {"lower_value": images / high, "upper_value": images / low}
    return {"latency": latency, "throughput": throughput}


def _name(timeline: Timeline) -> str:
    case, chip = timeline.case, timeline.chip
    words = [naming.selector(case, batch=True)]
    words += [naming.threads(case.threads)] if naming.has_unusual_threads(case, chip) else []
    return f"{' '.join(words)} on {chip.name}"


def to_builtins(found: Sequence[Timeline]) -> list[dict[str, object]]:
    """For JSON: seconds, and [point, low, high] of a ratio to the reference."""
    return [
        {
            "name": name,
            "case": naming.selector(each.case, batch=True),
            "threads": each.case.threads,
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
        for name, each in zip(names(found), found, strict=True)
    ]


def _finding(point: Point) -> Finding | None:
    if point.verdict.level == "INVALID":
        return "INVALID"
    return point.against.finding if point.against else None


def to_markdown(found: Sequence[Timeline], margin: float = MARGIN) -> str:
    """Per case: a sentence on the changes, and a table with a line for each point."""
    parts = [
        part
        for name, each in zip(names(found), found, strict=True)
        for part in (
            f"# {markdown(name)}",
            markdown(sentence(each)),
            to_markdown_table(pd.DataFrame([_line(point) for point in each.points])),
        )
    ]
    return "\n\n".join([*parts, HOW_TO_READ.format(margin=100 * margin)])


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
    by = f" by {between(*ratio)}" if ratio else ""
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
        "Ratio": between(*ratio) if ratio else NOTHING,
        "Finding": _finding(point) or NOTHING,
        "Verdict": point.verdict.level,
        "What changed": markdown(changes) or NOTHING,
    }


def picture(found: Sequence[Timeline]) -> bytes:
    """The PNG: a panel for each case, with its points in order, and decided changes marked."""

    def paint(figure: object) -> None:
        panels = figure.subplots(len(found), 1, squeeze=False)  # type: ignore[attr-defined]
        for axes, timeline, name in zip(panels[:, 0], found, names(found), strict=True):
            _panel(axes, timeline, name)

    return painted(paint, (WIDTH, HEIGHT * len(found)), ("png",))["png"]


def _panel(axes: Axes, timeline: Timeline, name: str) -> None:
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
    axes.set_title(fitted(name, LONGEST_NAME))

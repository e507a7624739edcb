"""The samples of each case, process by process, next to mean ± standard deviation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.analysis.rows import Row, is_grouped
from bench.analysis.stats import FEWEST_FOR_MEDIAN, Summary
from bench.models import naming
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import (
    PALE,
    compact,
    listed,
    literal,
    mixed,
    painted,
    positive_axis,
    shortened,
)
from bench.report.figures.titles import settings_of, title_of, with_room
from bench.text import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 50  # cases
# A distribution of fewer samples says too little: not even their median has a 95 % interval.
FEWEST = FEWEST_FOR_MEDIAN
MOST_DOTS = 400  # per process: evenly spaced ranks of its samples, including minimum and maximum
RASTER_FROM = 2000  # from so many dots on, an SVG stores them as one image
WIDTH, TOP, ROW, LEAST, LINE = 10.0, 1.9, 0.3, 1.2, 0.16  # inches
LONGEST_TITLE = 44  # letters of a device's name
WRAP = 140  # letters of a note
PLAIN_MS = (1e-4, 1e7)  # numbers outside this range are printed with an exponent
GAP, LETTER = 9.0, 5.2  # points: between columns of numbers, width of a digit
TALL = 20  # from so many cases on, the scale is repeated at the top
STRIP = (-0.42, 0.16)  # the part of a row with the dots, relative to its centre
BAR = 0.30  # the height of the bars in a row, relative to its centre
DOT_COLOURS = ("#0072B2", "#56B4E9")  # processes alternate between them
INK = "#222222"
SPREAD: dict[str, Any] = {"color": "#f0c48a", "linewidth": 5}
MEAN: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.6}
INTERVAL: dict[str, Any] = {"color": INK, "linewidth": 2}
MEDIAN: dict[str, Any] = {"color": INK, "linewidth": 1}
DOT: dict[str, Any] = {"marker": ".", "markersize": 3.2, "alpha": 0.6, "markeredgewidth": 0}
NOTE = (
    "Each dot is one {}. Each lane of a case is one process, in order of time; within a lane, time "
    "runs from top to bottom."
)
ITERATION = "iteration"
GROUP = "group of calls"  # the mean of it
EITHER = f"{ITERATION}, or {GROUP} below 50 µs"
THINNED = f"A process with more iterations shows {MOST_DOTS} of them, at evenly spaced ranks."


class Lane(NamedTuple):
    """One process: samples in ms, and the time of each as a share from 0 to 1 of the process."""

    ms: NDArray[np.float64]
    when: NDArray[np.float64]
    median_ms: float


def distributions(device: DeviceResults) -> dict[int, dict[str, bytes]]:
    """The figures of the samples of each case, by batch and by format; at most 50 cases in each.

    Cases at 224 pixels come first, of these the fastest. SUSPECT and INVALID cases are pale and
    marked. Cases with fewer than FEWEST samples are not shown, and a note names them. A batch
    without any other case has no figure, and a note in the other figures says so.
    """
    timed = [row for row in device.rows if row.summary]
    batches = sorted({row.case.batch for row in timed if _has_distribution(row)})
    lost = sorted({row.case.batch for row in timed}.difference(batches))
    return {
        batch: _of_batch(device.label, [row for row in timed if row.case.batch == batch], lost)
        for batch in batches
    }


def _has_distribution(row: Row) -> bool:
    return _summary(row).samples >= FEWEST


def _of_batch(label: str, rows: Sequence[Row], lost: Sequence[int]) -> dict[str, bytes]:
    """The figure of one batch; `lost` are the batches without a figure."""
    timed = [row for row in rows if _has_distribution(row)]
    usual = naming.USUAL.resolution
    timed.sort(key=lambda row: (row.case.resolution != usual, _summary(row).latency))
    shown = timed[:MOST]
    title = (
        f"Latency on {shortened(label, LONGEST_TITLE)}\n{settings_of([row.case for row in shown])}"
    )
    notes = [*_notes(timed), *_omissions(rows, lost)]
    size = (
        with_room(WIDTH, map(title_of, shown)),
        TOP + LINE * len(notes) + max(ROW * len(shown), LEAST),
    )
    return painted(lambda figure: paint(figure, shown, literal(title), notes), size)


def _notes(timed: Sequence[Row]) -> list[str]:
    """The lines below the figure: what is drawn, the marks, and the cases not shown."""
    shown = timed[:MOST]
    notes = [NOTE.format(_dot(shown)), *doubts.legend(map(doubts.marks, shown))]
    if any(len(record.samples_s) > MOST_DOTS for row in shown for record in row.rounds):
        notes.append(THINNED)
    if len(timed) > MOST:
        first = {row.case.resolution for row in timed} > {naming.USUAL.resolution}
        order = ", those at 224² first" * first
        notes.append(f"Only the {MOST} fastest of {len(timed)} cases are shown{order}.")
    return notes


def _omissions(rows: Sequence[Row], lost: Sequence[int]) -> list[str]:
    """Lines that name the cases with too few samples, and the batches with no other case."""
    few = [
        f"{title_of(row)} ({_summary(row).samples})" for row in rows if not _has_distribution(row)
    ]
    sizes = [f"batch {batch}" for batch in lost]
    return [
        *listed(f"Not shown, fewer than {FEWEST} samples: ", few, WRAP),
        *listed(f"No figure, all cases have fewer than {FEWEST} samples: ", sizes, WRAP),
    ]


def paint(figure: Figure, rows: Sequence[Row], title: str, notes: Sequence[str]) -> None:
    """Draw the same on an existing figure."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    axes = figure.subplots()
    lanes = [list(_lanes(row)) for row in rows]
    every = [lane.ms for case in lanes for lane in case]
    positive_axis(axes, min(ms.min() for ms in every), max(ms.max() for ms in every))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), [title_of(row) for row in rows], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labeltop=len(rows) > TALL)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Latency (ms)")
    edges = [place + 0.5 for place in range(len(rows) - 1)]
    axes.hlines(edges, 0, 1, transform=axes.get_yaxis_transform(), color="#e6e6e6", linewidth=0.6)
    _draw_dots(axes, lanes, [doubts.level(row) for row in rows])
    _draw_bars(axes, rows)
    _write_numbers(axes, rows)
    figure.legend(
        handles=_handles(rows),
        loc="outside lower left",
        ncols=5,
        fontsize=8,
        title="\n".join(notes),
        title_fontsize=8,
        alignment="left",
    )


def _dot(rows: Sequence[Row]) -> str:
    """What a dot is: one call, or the mean of a group of calls."""
    grouped = [is_grouped(row.rounds) for row in rows]
    if not any(grouped):
        return ITERATION
    return GROUP if all(grouped) else EITHER


def _summary(row: Row) -> Summary:
    assert row.summary is not None
    return row.summary


def _lanes(row: Row) -> Iterator[Lane]:
    """One lane per process of a case, in order of time."""
    for record in row.rounds:
        ms = 1e3 * np.array(record.samples_s)
        order = np.argsort(ms, kind="stable")
        kept = order[np.linspace(0, len(ms) - 1, min(len(ms), MOST_DOTS)).astype(int)]
        yield Lane(ms[kept], (kept + 0.5) / len(ms), float(np.median(ms)))


def _draw_dots(axes: Axes, lanes: Sequence[Sequence[Lane]], levels: Sequence[str]) -> None:
    """The samples, and the median of each process; dots of one colour are one artist, for speed."""
    dots: dict[str, list[Any]] = {}
    medians, shades = [], []
    for place, (case, level) in enumerate(zip(lanes, levels, strict=True)):
        height = (STRIP[1] - STRIP[0]) / len(case)
        for number, lane in enumerate(case):
            top = place + STRIP[0] + number * height
            colour = mixed(DOT_COLOURS[number % 2], "white", PALE[level])
            found = dots.setdefault(colour, [])
            found.append((lane.ms, top + height * (0.1 + 0.8 * lane.when)))
            medians.append((lane.median_ms, top, top + height))
            shades.append(mixed(INK, "white", PALE[level]))
    raster = sum(len(lane.ms) for case in lanes for lane in case) >= RASTER_FROM
    for colour, found in dots.items():
        across, down = (np.concatenate(part) for part in zip(*found, strict=True))
        axes.plot(across, down, linestyle="", color=colour, rasterized=raster, zorder=2, **DOT)
    axes.vlines(*zip(*medians, strict=True), zorder=4, **MEDIAN).set_color(shades)


def _draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    """Bars below the dots: mean ± standard deviation of all samples, and the 95 % interval."""
    for place, row in enumerate(rows):
        mean, std = 1e3 * _summary(row).mean, 1e3 * _summary(row).std
        where, (low, high) = place + BAR, axes.get_xlim()
        shown: dict[str, Any] = {"alpha": 1 - PALE[doubts.level(row)], "solid_capstyle": "butt"}
        if std >= 0:  # nan for a single sample
            ends = np.clip([mean - std, mean + std], low, high)
            axes.plot(ends, [where] * 2, zorder=3, **shown, **SPREAD)
        axes.plot([mean] * 2, [where - 0.14, where + 0.14], zorder=5, **shown, **MEAN)
        if row.interval:
            ends = np.clip([1e3 * row.interval.low, 1e3 * row.interval.high], low, high)
            axes.plot(ends, [where] * 2, zorder=4, **shown, **INTERVAL)


def _write_numbers(axes: Axes, rows: Sequence[Row]) -> None:
    """Columns on the right: latency, mean ± std of all iterations, and the counts of samples."""
    found = [_summary(row) for row in rows]
    columns = {
        "latency": [
            _milliseconds(each.latency) + doubts.marks(row)
            for each, row in zip(found, rows, strict=True)
        ],
        "mean ± std of all": [_spread(each) for each in found],
        "samples (processes)": [f"{each.samples} ({each.processes})" for each in found],
    }
    across = GAP
    for head, cells in columns.items():
        for height, text in [(-0.6, head), *enumerate(cells)]:
            axes.annotate(
                text,
                (1.0, height),
                (across, 0),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                fontsize=8,
                va="bottom" if height < 0 else "center",
            )
        across += LETTER * max(map(len, [head, *cells])) + GAP


def _handles(rows: Sequence[Row]) -> list[Line2D]:
    handles = [
        Line2D([], [], label=_dot(rows), linestyle="", color=DOT_COLOURS[0], **DOT),
        Line2D([], [], label="median of a process", marker="|", linestyle="", **MEDIAN),
        Line2D([], [], label="mean of all", marker="|", linestyle="", **MEAN),
        Line2D([], [], label="± standard deviation", **SPREAD),
        Line2D([], [], label="95 % interval of the latency", **INTERVAL),
    ]
    return handles if any(row.interval for row in rows) else handles[:-1]


def _milliseconds(value_s: float) -> str:
    """Seconds in ms; outside PLAIN_MS with an exponent."""
    value = 1e3 * value_s
    return significant(value) if PLAIN_MS[0] <= value < PLAIN_MS[1] else compact(value)


def _spread(summary: Summary) -> str:
    """Mean ± std of all iterations in ms; outside PLAIN_MS each with an exponent."""
    mean, std = 1e3 * summary.mean, 1e3 * summary.std
    if PLAIN_MS[0] <= mean < PLAIN_MS[1]:
        return summary.spread_ms
    return f"{compact(mean)} ± {compact(std)}" if std >= 0 else compact(mean)

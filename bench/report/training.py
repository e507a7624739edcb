"""`training.md` and its picture: what a training step of each network costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pandas as pd

from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import forms, naming
from bench.records import Case
from bench.records.workload import INFER
from bench.report import doubts
from bench.report.colours import colour_of, known_families
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import PALE, fitted, mixed, painted, positive_axis
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import MIB, NOTHING, in_unit, markdown, milliseconds, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASE = "convnext_t"  # the network that others are compared with
SINGLE = "rrep"  # the form without branches
HOUR_S = 3600.0
RECIPES = {  # images of a training set times epochs (Section 4.1, Tables 2 and 4)
    "ImageWoof, 300 epochs (h)": 9_025 * 300,
    "ImageNet-1K, 450 epochs (h)": 1_281_167 * 450,
}
LONGEST, INK, NAME = 44, "#222222", 7.5
HEIGHT = 0.3  # inches of a row of the picture

HOW_TO_READ = """\
A step is forward, cross-entropy, backward and AdamW, on the same images and classes each time; \
nothing of it waits for data. *Latency* is that of a step, with its 95 % interval. The ratios to \
ConvNeXt-T and to the same network with one branch (`rrep`) come from processes that took turns, \
with 95 % intervals; there is none where a row is INVALID or has one process. † marks SUSPECT \
rows; results.md has the reasons. *Extrapolated*: the hours that all steps of the paper's recipe \
would take on this device at this rate. They do not include the time for reading and augmenting \
images, or for validation. The memory is the peak of a step."""


class Line(NamedTuple):
    """A row of the page with its ratios to ConvNeXt-T and to its own form with one branch."""

    row: Row
    to_base: Estimate | None
    to_single: Estimate | None


def render(device: DeviceResults) -> dict[str, bytes]:
    """The page of a device and its picture; nothing unless a training step was measured."""
    lines = _lines(device.training)
    if not lines:
        return {}
    parts = [
        f"# Training steps on {markdown(device.label)}",
        describe(device.environment),
        to_markdown_table(pd.DataFrame([_cells(line) for line in lines])),
        HOW_TO_READ,
    ]
    pages = {"training.md": ("\n\n".join(parts) + "\n").encode()}
    if drawn := [line for line in lines if line.to_base]:
        picture = painted(lambda figure: _paint(figure, drawn, device), _size(drawn))
        pages |= {f"training.{kind}": content for kind, content in picture.items()}
    return pages


def _lines(rows: Sequence[Row]) -> list[Line]:
    """The rows with their ratios, by batch and setting, the fastest first."""
    known = {row.case: row for row in rows}
    found = [
        Line(
            row,
            _ratio(row, _other(known, row.case, BASE, forms.ONLY)),
            _ratio(row, _other(known, row.case, row.case.model, SINGLE)),
        )
        for row in rows
    ]
    return sorted(found, key=lambda line: (_place(line.row.case), line.row.typical_s or 0.0))


def _place(case: Case) -> tuple[object, ...]:
    return (*case.group, case.input, case.precision, case.backend, case.threads, *case.allocation)


def _other(known: dict[Case, Row], case: Case, model: str, form: str) -> Row | None:
    """The row of another network in the setting of `case`; None for the case itself."""
    for other, row in known.items():
        if (other.model, other.form) == (model, form) and other.setting == case.setting:
            return None if other == case else row
    return None


def _ratio(row: Row, base: Row | None) -> Estimate | None:
    """The step of `row` / that of `base`; None where there is no interval."""
    if base is None or "INVALID" in (doubts.level(row), doubts.level(base)):
        return None
    return compare(base.rounds, row.rounds).ratio if base.rounds and row.rounds else None


def _cells(line: Line) -> dict[str, str]:
    row, case = line.row, line.row.case
    failed = f"failed ({row.failure.stage})" if row.failure else NOTHING
    memory = row.cost.peak_memory_bytes if row.cost else None
    rate = row.throughput or 0.0
    is_usual = bool(rate) and naming.image(case) == naming.image(naming.USUAL)
    return {
        "Model": markdown(_name(case)),
        "Batch": str(case.batch),
        "Threads": str(case.threads),
        "Latency (ms)": f"{_ms(row.typical_s)}{doubts.marks(row)}" if row.typical_s else failed,
        "95 % interval (ms)": _interval_ms(row),
        "img/s": significant(row.throughput),
        "of ConvNeXt-T": _text(line.to_base),
        "of one branch": _text(line.to_single),
        "Peak memory (MiB)": significant(in_unit(MIB, memory)),
        **{
            f"Extrapolated: {name}": significant(images / rate / HOUR_S if is_usual else None)
            for name, images in RECIPES.items()
        },
        "Verdict": row.verdict.level if row.verdict else NOTHING,
    }


def _name(case: Case) -> str:
    """The name of a network with the settings that differ from the usual ones."""
    return naming.title(msgspec.structs.replace(case, workload=INFER))


def _ms(seconds: float | None) -> str:
    return significant(milliseconds(seconds))


def _interval_ms(row: Row) -> str:
    return f"{_ms(row.interval.low)} to {_ms(row.interval.high)}" if row.interval else NOTHING


def _text(ratio: Estimate | None) -> str:
    return f"{ratio.point:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else NOTHING


def _size(lines: Sequence[Line]) -> tuple[float, float]:
    return (6.5, 1.1 + HEIGHT * len(lines))


def _paint(figure: Figure, lines: Sequence[Line], device: DeviceResults) -> None:
    """Draw a line per network: the ratio of its step to that of ConvNeXt-T, with its interval."""
    axes: Axes = figure.subplots()
    families = known_families([device])
    ends: list[float] = [1.0]
    for place, line in enumerate(lines):
        ratio, row = line.to_base, line.row
        assert ratio is not None
        family = naming.family(row.case).name
        colour = mixed(colour_of(family, families), "white", PALE[doubts.level(row)])
        axes.plot([ratio.low, ratio.high], [place] * 2, color=colour, linewidth=1.8)
        axes.plot([ratio.point], [place], "o", color=colour, markersize=5)
        text = f"{ratio.point:.2f}×{doubts.marks(row)}"
        where = axes.get_yaxis_transform()
        axes.text(1.015, place, text, transform=where, fontsize=NAME, va="center", color=INK)
        ends += [ratio.low, ratio.high]
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
    positive_axis(axes, min(ends), max(ends))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    names = [fitted(_title(line.row.case), LONGEST) for line in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=NAME)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("a training step / that of ConvNeXt-T, with the 95 % interval")
    axes.set_title(fitted(f"Training steps on {device.label}", LONGEST), fontsize=9)


def _title(case: Case) -> str:
    return f"{_name(case)}, batch {case.batch}"

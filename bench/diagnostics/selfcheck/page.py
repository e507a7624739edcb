"""The page and the picture of a selfcheck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.stats import MARGIN
from bench.diagnostics.selfcheck.findings import Findings
from bench.records import Environment
from bench.report.figures.canvas import COLOURS, drawn
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.0, 4.2)
NOTE = (
    "Contention hits unlike networks unequally, so their true ratio moves. Tried to steady it: a "
    "regression on what the calibration kernels took (both, or either, over neighbouring "
    "blocks), blocks of the quiet state only, medians for means. Each helped in one hour and not "
    "in the next, so findings rest on the ratio as measured, whose interval holds the movement; "
    "`compare --json` gives the adjusted one beside it. Much of what is left is in the process: "
    "some take thousands of page faults an iteration and some none, as `explain` shows."
)


def to_markdown(findings: Findings, environment: Environment) -> str:
    """What was claimed, what was found, and the numbers behind it."""
    table = pd.DataFrame(
        [
            {
                "Claim": markdown(bar.claim),
                "Bar": markdown(bar.wanted),
                "Found": markdown(bar.found),
                "Verdict": "pass" if bar.passed else "FAIL",
            }
            for bar in findings.bars
        ]
    )
    passed = sum(bar.passed for bar in findings.bars)
    raw = [f"- {markdown(name)}: {markdown(text)}" for name, text in findings.raw.items()]
    parts = [
        f"# Selfcheck on {markdown(environment.chip.name)}",
        describe(environment),
        f"{passed} of {len(findings.bars)} bars are met. Made again by `{environment.command}`.",
        to_markdown_table(table),
        "![Ratios that the harness found, beside the true ones](selfcheck.png)",
        NOTE,
        "## The numbers behind it",
        "\n".join(raw),
    ]
    return "\n\n".join(parts) + "\n"


def picture(findings: Findings) -> bytes:
    """Every split's ratio above the truth that was planted, and the separate runs."""
    return drawn(lambda axes: _paint(axes, findings), SIZE)


def _paint(axes: Axes, findings: Findings) -> None:
    axes.set_title("What the harness found, and what was true")
    axes.set_xlabel("Ratio of latencies; a bar is a 95 % interval, a dashed line the truth")
    axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color="#eeeeee", zorder=0)
    labels = []
    for place, (percent, splits) in enumerate(findings.splits.items()):
        labels.append(f"resnet18 +{percent} %" if percent else "resnet18 against itself")
        jitter = [place + 0.6 * (i / len(splits) - 0.5) for i in range(len(splits))]
        points = [each.point for each in splits]
        axes.plot(points, jitter, ".", color=COLOURS[place], markersize=3)
        truth = 1 + percent / 100
        axes.plot([truth, truth], [place - 0.4, place + 0.4], "--", color="#444444", linewidth=1)
    ratios = [each.ratio for each in findings.same if each.ratio]
    if ratios:
        place = len(labels)
        labels.append(f"resnet50 against itself,\n{len(ratios)} separate runs")
        for number, each in enumerate(ratios):
            height = place + 0.6 * ((number + 0.5) / len(ratios) - 0.5)
            axes.plot([each.low, each.high], [height] * 2, color=COLOURS[3], linewidth=1.5)
            axes.plot([each.point], [height], "o", color=COLOURS[3], markersize=4)
        axes.plot([1, 1], [place - 0.4, place + 0.4], "--", color="#444444", linewidth=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")

"""Writes the page and draws the picture of a selfcheck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.stats import MARGIN
from bench.diagnostics.selfcheck.findings import Findings
from bench.records import Environment
from bench.report.colours import COLOURS
from bench.report.figures.canvas import drawn
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import markdown, markdown_code

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.0, 4.2)
NOTE = (
    "Other programs slow two different networks by different factors, so the true ratio of the "
    "two networks changes over time. Three corrections were tried: a regression on the times of "
    "the calibration kernels (both kernels or one, over neighbouring blocks), only blocks that "
    "were measured while the machine was quiet, and medians instead of means. Each correction "
    "helped in one hour and not in the next. The harness therefore uses the ratio without "
    "correction; the interval of the ratio covers the changes. `bench compare --json` also gives "
    "the ratio that is adjusted by the calibration kernels. Much of the remaining variation is "
    "between processes: some have thousands of page faults per call, some have none. "
    "`bench explain` shows them."
)


def to_markdown(findings: Findings, environment: Environment) -> str:
    """Return the page in Markdown: the criteria, the picture and the numbers."""
    table = pd.DataFrame(
        [
            {
                "Claim": markdown(criterion.claim),
                "Requirement": markdown(criterion.required),
                "Found": markdown(criterion.found),
                "Verdict": "pass" if criterion.passed else "FAIL",
            }
            for criterion in findings.criteria
        ]
    )
    passed = sum(criterion.passed for criterion in findings.criteria)
    raw = [f"- {markdown(name)}: {markdown(text)}" for name, text in findings.raw.items()]
    parts = [
        f"# Selfcheck on {markdown(environment.chip.name)}",
        describe(environment),
        f"{passed} of {len(findings.criteria)} criteria are met. To repeat this, run "
        f"{markdown_code(environment.command)}.",
        to_markdown_table(table),
        "![Ratios that the harness found, and the true ratios](selfcheck.png)",
        NOTE,
        "## Numbers",
        "\n".join(raw),
    ]
    return "\n\n".join(parts) + "\n"


def picture(findings: Findings) -> bytes:
    """Return a PNG: the ratio of each pair and of each separate run, with the true ratios."""
    return drawn(lambda axes: _paint(axes, findings), SIZE)


def _paint(axes: Axes, findings: Findings) -> None:
    axes.set_title("Ratios that the harness found, and the true ratios")
    axes.set_xlabel("Ratio of latencies (lines: 95 % intervals; dashed lines: true ratios)")
    axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color="#eeeeee", zorder=0)
    rows = [
        (f"resnet18, {percent} % slower" if percent else "resnet18 against itself", percent, found)
        for percent, found in findings.pairs.items()
    ]
    ratios = [each.ratio for each in findings.same if each.ratio]
    if ratios:
        rows.append((f"resnet50 against itself,\n{len(ratios)} separate runs", 0, ratios))
    for place, (_, percent, found) in enumerate(rows):
        for number, each in enumerate(found):
            height = place + 0.6 * ((number + 0.5) / len(found) - 0.5)
            axes.plot([each.low, each.high], [height] * 2, color=COLOURS[place], linewidth=1.5)
            axes.plot([each.point], [height], "o", color=COLOURS[place], markersize=4)
        truth = 1 + percent / 100
        axes.plot([truth, truth], [place - 0.4, place + 0.4], "--", color="#444444", linewidth=1)
    labels = [label for label, _, _ in rows]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")

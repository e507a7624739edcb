"""Renders the page of a first contact. Pure: no clock, no device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from bench.diagnostics.hardware.line import Line
from bench.records import Environment
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import markdown

NOTE = (
    "PASS: the numbers meet the limit. FAIL: they do not. NOT POSSIBLE: the line cannot be decided "
    "here, for the reason that it gives. `hardware.json` has the raw numbers. A second call runs "
    "only lines without a result; remove the folder `hardware/lines` to measure all of them again."
)


def to_markdown(lines: Sequence[Line], environment: Environment) -> str:
    """Return the page in Markdown: the count of verdicts, and a row for each line."""
    counts = Counter(line.verdict for line in lines)
    table = pd.DataFrame(
        [
            {
                "Line": markdown(line.name),
                "Verdict": line.verdict,
                "Seen": markdown(line.seen),
                "Limit": markdown(line.limit),
                "Reason": markdown(line.why),
            }
            for line in lines
        ]
    )
    parts = [
        f"# First contact with {markdown(environment.chip.name)}",
        describe(environment),
        f"{counts['PASS']} PASS, {counts['FAIL']} FAIL, {counts['NOT POSSIBLE']} NOT POSSIBLE. To "
        f"go on, run `{environment.command}`.",
        to_markdown_table(table),
        NOTE,
    ]
    return "\n\n".join(parts) + "\n"

"""Renders the page of a first contact. Pure: no clock, no device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from bench.diagnostics.hardware.line import Line
from bench.records import Environment
from bench.report.tables.markdown import describe, to_markdown_table
from bench.text import markdown, markdown_code

COLUMNS = ["Line", "Verdict", "Seen", "Limit", "Reason"]
NOTE = (
    "PASS: the numbers meet the limit. FAIL: they do not. NOT POSSIBLE: the line cannot be decided "
    "here, for the reason that it gives. `hardware.json` has the raw numbers. The same command "
    "measures lines without a result first. Then it measures again lines that failed or could not "
    "be decided, and networks that failed. It keeps all other lines; remove the folder "
    "`hardware/lines` to measure them again, and `hardware/checks` to check the networks again."
)


def to_markdown(lines: Sequence[Line], environment: Environment) -> str:
    """Return the page in Markdown: the count of verdicts, a row for each line, and what is left.

    A line that waits for the next call has a row only if it failed already.
    """
    shown = [line for line in lines if line.failed or not line.is_unfinished]
    rest = [line for line in lines if line.is_unfinished]
    counts = Counter(line.verdict for line in shown)
    said = f"{counts['PASS']} PASS, {counts['FAIL']} FAIL, {counts['NOT POSSIBLE']} NOT POSSIBLE"
    table = pd.DataFrame([_row(line) for line in shown], columns=COLUMNS)
    parts = [
        f"# First contact with {markdown(environment.chip.name)}",
        describe(environment),
        f"{said}; {len(rest)} left for the next call of {markdown_code(environment.command)}.",
        to_markdown_table(table),
        *_left(rest),
        NOTE,
    ]
    return "\n\n".join(parts) + "\n"


def _row(line: Line) -> list[str]:
    texts = [markdown(text) for text in (line.name, line.seen, line.limit, line.why)]
    return [texts[0], line.verdict, *texts[1:]]


def _left(rest: Sequence[Line]) -> list[str]:
    """Return a list of what the next call measures; nothing if all is measured."""
    items = [f"- {markdown(line.name)}: {markdown(line.why)}" for line in rest]
    return ["Left for the next call:", "\n".join(items)] if items else []

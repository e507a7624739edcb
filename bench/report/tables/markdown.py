"""What all pages in Markdown share."""

from __future__ import annotations

import pandas as pd

from bench.records import Environment
from bench.text import facts, markdown

TEXT_COLUMNS = (
    "Device",
    "Verdicts",
    "Model",
    "Form",
    "Backend",
    "Precision",
    "Finding",
    "Verdict",
    "Claim",
    "Term",
    "Operator",
    "Module",
    "Category",
    "Bar",
    "Found",
)


def describe(environment: Environment) -> str:
    """What a page was measured on, in a sentence of Markdown."""
    text = facts({**environment.chip.facts, **environment.versions})
    text = text or "nothing is known of this environment"
    return markdown(f"Environment {environment.environment_id}: {text}.")


def to_markdown_table(frame: pd.DataFrame) -> str:
    """`frame` as Markdown; columns of numbers are set to the right."""
    right = [column not in TEXT_COLUMNS for column in frame]
    return str(
        frame.to_markdown(
            index=False,
            disable_numparse=True,
            colalign=["right" if flag else "left" for flag in right],
        )
    )

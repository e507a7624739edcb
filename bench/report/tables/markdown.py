"""Shared by all Markdown pages."""

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
    "In words",
    "Verdict",
    "Claim",
    "Best form in eager",
    "Tuned in fp32",
    "Tuned in other precisions",
    "Term",
    "Operator",
    "Module",
    "Category",
    "Requirement",
    "Found",
    "Line",
    "Seen",
    "Limit",
    "Reason",
    "Fastest",
    "Images",
    "Not told apart from it",
    "In the opposite order",
    "In eager mode",
    "In this backend",
    "Candidate",
    "Other",
    "Fate",
    "Point",
    "Reference",
    "What changed",
    "Measured at",
    "Faster at small batches",
    "Faster at large batches",
)


def describe(environment: Environment) -> str:
    """A Markdown sentence with the environment that a page was measured in."""
    text = facts({**environment.chip.facts, **environment.versions}, environment.variables)
    text = text or "unknown"
    return markdown(f"Environment {environment.environment_id}: {text}.")


def to_markdown_table(frame: pd.DataFrame) -> str:
    """`frame` as a Markdown table; columns of numbers are right-aligned."""
    right = [column not in TEXT_COLUMNS for column in frame]
    return str(
        frame.to_markdown(
            index=False,
            disable_numparse=True,
            colalign=["right" if flag else "left" for flag in right],
        )
    )

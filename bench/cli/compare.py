"""`bench compare`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as opt
from bench.errors import CASE_FAILED, UsageError, unknown

PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*%")
LARGEST_PERCENTAGE = 100.0
FAIL_ON = ("slower", "undecided")


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A case, or a folder of results.")],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="What may be faster or slower than BASE.")
    ],
    folder: Annotated[
        Path,
        typer.Option("--in", metavar="DIR", help="Where cases are looked up.", parser=opt.folder),
    ] = Path("reports"),
    threshold: Annotated[
        str, typer.Option(metavar="PERCENT", help="A difference within this is of no consequence.")
    ] = "2%",
    fail_on: Annotated[
        str,
        typer.Option("--fail-on", metavar="|".join(FAIL_ON), help="Exit with 1 where any is so."),
    ] = "",
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write compare.md, compare.json and compare.png here.",
            parser=opt.folder,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of Markdown.")] = False,
) -> None:
    """Say which of two cases, or of two runs' same cases, is FASTER, SLOWER or the SAME."""
    margin = _margin(threshold)
    failing = _failing(fail_on)
    from bench.analysis.compare import is_regression, two_cases, two_runs
    from bench.report import comparison

    folders = [os.path.isdir(each) for each in (base, candidate)]
    if all(folders):
        found = two_runs(Path(base), Path(candidate), margin)
    elif any(folders):
        known, other = (base, candidate) if folders[0] else (candidate, base)
        raise UsageError(
            f"{known} is a folder, {other} is none", "Name two folders that exist, or two cases."
        )
    else:
        found = two_cases(folder, base, candidate, margin)
    for warning in dict.fromkeys(warning for group in found for warning in group.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    if to is not None:
        comparison.write(found, to)
    print(comparison.to_json(found) if as_json else comparison.to_markdown(found))
    if is_regression(found, failing):
        raise typer.Exit(CASE_FAILED)


def _margin(text: str) -> float:
    """`3%` to 0.03. Raises UsageError for what is no percentage."""
    found = PERCENTAGE.fullmatch(text.strip())
    if not found or not 0 < float(found[1]) < LARGEST_PERCENTAGE:
        raise UsageError(f"--threshold {text!r} is no percentage", "For example: --threshold 3%")
    return float(found[1]) / 100


def _failing(text: str) -> set[str]:
    words = {word.strip() for word in text.split(",")} - {""}
    for word in sorted(words - set(FAIL_ON)):
        raise unknown("--fail-on", word, FAIL_ON)
    return words

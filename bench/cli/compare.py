"""`bench compare`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.completion import recorded_cases
from bench.cli.console import code_of_unreadable, complain, tell_json, tell_page
from bench.cli.options import DEFAULT_OUT, as_folder, percentage, with_options
from bench.errors import CASE_FAILED, NOT_JUDGED, UsageError, unknown

if TYPE_CHECKING:
    from bench.analysis.compare import Comparisons

FAIL_ON = ("slower", "undecided", "invalid")


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """The arguments and flags of `bench compare`."""

    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="A case, or a folder of results.",
            autocompletion=recorded_cases,
        ),
    ]
    candidate: Annotated[
        str,
        typer.Argument(
            metavar="CANDIDATE",
            help="The case or folder to compare with BASE.",
            autocompletion=recorded_cases,
        ),
    ]
    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="The folder that holds both cases.", parser=as_folder
        ),
    ] = DEFAULT_OUT
    threshold: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller difference does not matter.")
    ] = "2%"
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on",
            metavar="|".join(FAIL_ON),
            help="Exit with code 1 if a case gets one of these findings, or 4 if it is INVALID.",
        ),
    ] = ""
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write compare.md, compare.json and compare.png into this folder.",
            parser=as_folder,
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False


@with_options(CompareOptions)
def compare(options: CompareOptions) -> int:
    """Say whether a case is FASTER or SLOWER than another, or the SAME; or compare two folders."""
    margin = percentage("--threshold", options.threshold)
    failing = _failing(options.fail_on)
    from bench.analysis.compare import is_regression, is_unjudged
    from bench.report import comparison

    found = _comparisons(options, margin)
    for warning in dict.fromkeys(warning for group in found for warning in group.warnings):
        complain(f"warning: {warning}")
    if options.to is not None:
        comparison.write(found, options.to)
    if options.as_json:
        tell_json(found, indent=2)
    else:
        tell_page(comparison.to_markdown(found))
    unreadable = dict.fromkeys(sentence for group in found for sentence in group.unreadable)
    exit_code = code_of_unreadable(unreadable)
    if exit_code:
        return exit_code
    if is_regression(found, failing):
        return CASE_FAILED
    return NOT_JUDGED if is_unjudged(found, failing) else 0


def _comparisons(options: CompareOptions, margin: float) -> list[Comparisons]:
    """Return the comparison of two cases, or one comparison per device of two folders.

    Raises UsageError if only one of the two names is a folder.
    """
    from bench.analysis.compare import two_cases, two_runs

    base, candidate = options.base, options.candidate
    are_folders = [os.path.isdir(each) for each in (base, candidate)]
    if all(are_folders):
        return two_runs(Path(base), Path(candidate), margin)
    if any(are_folders):
        known, other = (base, candidate) if are_folders[0] else (candidate, base)
        raise UsageError(
            f"{known} is a folder, {other} is not", "Name two folders that exist, or two cases."
        )
    return two_cases(options.folder, base, candidate, margin)


def _failing(text: str) -> set[str]:
    """Split `slower,invalid`. Raises UsageError for another word."""
    words = {word.strip() for word in text.split(",")} - {""}
    for word in sorted(words - set(FAIL_ON)):
        raise unknown("--fail-on", word, FAIL_ON)
    return words

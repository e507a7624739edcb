"""`bench explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.cli.completion import recorded_cases
from bench.cli.console import code_of_unreadable, complain, tell, tell_json
from bench.cli.options import DEFAULT_OUT, as_folder
from bench.text import printable

WIDTH = 100
HEADING = 11


def explain(
    selector: Annotated[
        str,
        typer.Argument(
            metavar="ID|MODEL",
            help="A case_id, its first letters, or a network as --models or a table names it.",
            autocompletion=recorded_cases,
        ),
    ],
    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR", help="The folder that `bench run` wrote into.", parser=as_folder
        ),
    ] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain how a number was measured, and whether you can believe it."""
    from bench.analysis.explain import explain as lines_of
    from bench.analysis.recorded import latest, no_such_case, unreadable_in

    everything = latest(folder)
    found = [lines_of(each, case) for each in everything for case in each.matching(selector)]
    if not found:
        raise no_such_case(selector, folder, everything)
    for warning in dict.fromkeys(warning for each in everything for warning in each.warnings):
        complain(f"warning: {warning}")
    if as_json:
        tell_json([dict(lines) for lines in found])
    else:
        _tell(found, min(Console().width, WIDTH))
    if exit_code := code_of_unreadable(unreadable_in(everything)):
        raise typer.Exit(exit_code)


def _tell(found: Sequence[Sequence[tuple[str, str]]], width: int) -> None:
    """Print the lines of each case; an empty line separates the cases."""
    for number, lines in enumerate(found):
        if number:
            tell("")
        for heading, text in lines:
            for line in _wrapped(heading, text, width):
                tell(line)


def _wrapped(heading: str, text: str, width: int) -> list[str]:
    """Return heading and text, wrapped at `width` columns; lines after the first are indented."""
    text = printable(" ".join(text.split()))
    if heading == "repeat":
        return [f"{heading:<{HEADING}}{text}"]  # not wrapped, so that it can be copied
    indent = " " * HEADING
    lines = textwrap.wrap(
        text, max(width, 2 * HEADING), initial_indent=indent, subsequent_indent=indent
    )
    first, *others = lines or [indent]
    return [heading.ljust(HEADING) + first[HEADING:], *others]

"""`bench explain`."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.cli import options as opt
from bench.text import printable

WIDTH = 100
HEADING = 11


def explain(
    selector: Annotated[
        str,
        typer.Argument(metavar="ID|MODEL", help="A case_id, the first letters of one, or a name."),
    ],
    folder: Annotated[
        Path,
        typer.Option("--in", metavar="DIR", help="Where `bench run` wrote to.", parser=opt.folder),
    ] = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say in words how a number came about, and whether to believe it."""
    from bench.analysis.explain import explain as lines_of
    from bench.analysis.recorded import latest, nothing_called

    everything = latest(folder)
    found = [lines_of(each, case) for each in everything for case in each.matching(selector)]
    if not found:
        raise nothing_called(selector, folder, everything)
    for warning in dict.fromkeys(warning for each in everything for warning in each.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps([dict(lines) for lines in found]))
        return
    width = min(Console().width, WIDTH)
    print("\n\n".join("\n".join(_wrapped(*line, width) for line in lines) for lines in found))


def _wrapped(heading: str, text: str, width: int) -> str:
    text = printable(" ".join(text.split()))
    if heading == "repeat":
        return f"{heading:<{HEADING}}{text}"  # a line to copy
    indent = " " * HEADING
    lines = textwrap.wrap(
        text, max(width, 2 * HEADING), initial_indent=indent, subsequent_indent=indent
    )
    return heading.ljust(HEADING) + "\n".join(lines)[HEADING:]

"""`bench doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.cli.console import say, tell_json
from bench.cli.options import as_folder

MARKS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "lack": ("lack", "red")}
REMEDY_INDENT = "        "


def doctor(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Look for leftovers in this folder.  [default: reports and results]",
            parser=as_folder,
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Remove leftovers of killed runs: incomplete lines, unfinished pages, processes; "
            "and exported networks that were not used for an hour.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report what works on this machine and whether the machine is fit to measure on."""
    from bench.diagnostics import leftovers
    from bench.diagnostics.doctor import examine

    leftover = list(leftovers.examine(out, fix=fix))  # first: leftover processes use the CPU
    findings = [*examine(), *leftover]
    if as_json:
        tell_json([finding._asdict() for finding in findings])
        return
    console = Console(highlight=False)
    for finding in findings:
        mark, style = MARKS[finding.level]
        say(console, f"  {finding.about}: {finding.text}", mark=(mark, style))
        for remedy in finding.remedy.splitlines():
            say(console, REMEDY_INDENT + remedy, style="dim")

"""`bench doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

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
            help="Remove leftovers of killed runs: incomplete lines, unfinished pages, processes.",
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
        print(msgspec.json.encode([finding._asdict() for finding in findings]).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark, style = MARKS[finding.level]
        line = Text(mark, style=style)
        console.print(line.append(f"  {finding.about}: {finding.text}", style="default"))
        for remedy in finding.remedy.splitlines():
            console.print(Text(REMEDY_INDENT + remedy, style="dim"))

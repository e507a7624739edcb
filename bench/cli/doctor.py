"""`bench doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from bench.cli import options as opt

MARKS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "lack": ("lack", "red")}
REMEDY_INDENT = "        "


def doctor(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where to look for leftovers. Default: reports, results.",
            parser=opt.folder,
        ),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Do away with what runs that were killed left behind.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what this machine is, what works, and whether it is fit to measure on."""
    from bench.diagnostics import leftovers
    from bench.diagnostics.doctor import examine

    left = list(leftovers.examine(out, fix=fix))  # first, so that nothing of it is busy any more
    findings = [*examine(), *left]
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

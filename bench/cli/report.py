"""`bench report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as opt


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT...", help="Folders that `bench run` wrote to.", parser=opt.folder
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write here instead of beside the results.", parser=opt.folder
        ),
    ] = None,
    top1: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Accuracies of your own: a CSV of model,top1 ..."),
    ] = None,
) -> None:
    """Write tables, figures, the paper's claims and a page of all results in OUT."""
    from bench.paper import accuracy

    given = accuracy.read(top1) if top1 else []
    from bench.report import write

    written, warnings = write(sources, to, given)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in written:
        print(path)

"""`bench report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import as_folder, label_option


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT...", help="Folders that `bench run` wrote into.", parser=as_folder
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write into this folder instead of next to the results.",
            parser=as_folder,
        ),
    ] = None,
    top1: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own accuracies: a CSV file with the columns model,top1 and label.",
        ),
    ] = None,
    label: Annotated[list[str] | None, label_option] = None,
) -> None:
    """Write tables, figures, the claims of the paper and an HTML page of the results in OUT."""
    from bench.paper import accuracy

    given = accuracy.read(top1) if top1 else []
    from bench.report import write

    written, warnings = write(sources, to, given, label or [])
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in written:
        print(path)

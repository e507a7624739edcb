"""`bench report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    sources: Annotated[
        list[Path], typer.Argument(metavar="OUT...", help="Folders that `bench run` wrote to.")
    ],
    to: Annotated[
        Path | None, typer.Option(help="Write here instead of beside the results.")
    ] = None,
) -> None:
    """Write tables (Markdown, CSV) and figures (PNG) of all results in OUT."""
    from bench.report import write

    written, warnings = write(sources, to)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in written:
        print(path)

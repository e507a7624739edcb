"""`bench report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.console import code_of_unreadable, complain, tell
from bench.cli.options import as_folder, label_option

TO_OPEN = {"page:": ["report.html"], "table:": ["results.tex"], "index:": ["report.md"]}


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
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Write all tables and claims of the paper, also those without a measured network.",
        ),
    ] = False,
    every: Annotated[
        bool, typer.Option("--list", help="Print the path of every written file.")
    ] = False,
) -> None:
    """Write tables, figures and an HTML page of the results in OUT, and the paper's tables."""
    from bench.paper import accuracy

    given = accuracy.read(top1) if top1 else []
    from bench.report import write

    written, reading = write(sources, to, given, label or [], with_paper=paper)
    for warning in reading.warnings:
        complain(f"warning: {warning}")
    if every:
        for path in written:
            tell(str(path))
    else:
        for heading, path in _to_open(written, to or sources[0]):
            tell(f"{heading:<9}{path}")
        tell(f"files:   {len(written)} in all; --list names them")
    if exit_code := code_of_unreadable(reading.unreadable):
        raise typer.Exit(exit_code)


def _to_open(written: Sequence[Path], home: Path) -> Iterator[tuple[str, Path]]:
    """The pages to open first, each with a heading."""
    for heading, names in TO_OPEN.items():
        found = [home / name for name in names if home / name in written]
        yield from ((heading, path) for path in found[:1])

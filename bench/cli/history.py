"""`bench history`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.completion import recorded_cases
from bench.cli.console import code_of_unreadable, complain, tell_json, tell_page
from bench.cli.options import DEFAULT_OUT, as_folder, percentage, with_options


@dataclasses.dataclass(frozen=True)
class HistoryOptions:
    """The arguments and flags of `bench history`."""

    selector: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A network as for `bench compare`: net.py:net, or 'resnet50 compile batch 128'.",
            autocompletion=recorded_cases,
        ),
    ]
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--in",
            metavar="DIR",
            help="A folder of results; repeat it for others.  [default: results]",
            parser=as_folder,
        ),
    ] = None
    threshold: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller change does not matter.")
    ] = "2%"
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write history.md, history.json and history.png into this folder.",
            parser=as_folder,
        ),
    ] = None
    bencher: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the newest numbers in Bencher's metric format, for a dashboard.",
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False


@with_options(HistoryOptions)
def history(options: HistoryOptions) -> int:
    """Show a case over runs, commits and versions, and where a change is decided."""
    margin = percentage("--threshold", options.threshold)
    from bench.analysis.timeline import timelines
    from bench.report import timelines as pages

    found = timelines(options.folders or [DEFAULT_OUT], options.selector, margin)
    for warning in found.warnings:
        complain(f"warning: {warning}")
    if options.to is not None:
        pages.write(found.timelines, options.to, margin)
    if options.bencher is not None:
        pages.write_metrics(found.timelines, options.bencher)
        for name in pages.without_metrics(found.timelines):
            complain(f"warning: {name} is INVALID at every point, so {options.bencher} lacks it")
    if options.as_json:
        tell_json(pages.to_builtins(found.timelines), indent=2)
    else:
        tell_page(pages.to_markdown(found.timelines, margin))
    return code_of_unreadable(found.unreadable)

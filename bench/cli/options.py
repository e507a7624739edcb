"""Flags as a dataclass, and the decorator that turns a function of it into a command."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from bench.cli import completion
from bench.errors import UsageError
from bench.harness.plan import PRESETS

OptionsT = TypeVar("OptionsT")
PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*%")
LARGEST_PERCENTAGE = 100.0
TIME = re.compile(r"(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s)?")
UNITS_S = (3600.0, 60.0, 1.0)
LONGEST_S = 7 * 24 * 3600.0


def with_options(
    options: type[OptionsT],
) -> Callable[[Callable[[OptionsT], int]], Callable[..., None]]:
    """Return a decorator that makes a typer command of a function.

    The function takes the dataclass `options` and returns an exit code. Each field of the
    dataclass becomes a flag of the command, in the same order.
    """
    annotations = get_type_hints(options, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=annotations[field.name],
        )
        for field in dataclasses.fields(options)  # type: ignore[arg-type]
    ]

    def decorate(function: Callable[[OptionsT], int]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            if exit_code := function(options(**given)):
                raise typer.Exit(exit_code)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = annotations
        return command

    return decorate


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a flag, or `Parameter.empty` for a required argument."""
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def as_folder(text: str) -> Path:
    """Return the path of a folder. Raises UsageError for "", as from an unset shell variable."""
    if not text:
        raise UsageError("the name of a folder is empty", "Name a folder; `.` is the current one.")
    return Path(text)


def percentage(flag: str, text: str) -> float:
    """Return 0.03 for `3%`. Raises UsageError if `text` is not a percentage above 0."""
    found = PERCENTAGE.fullmatch(text.strip())
    if not found or not 0 < float(found[1]) < LARGEST_PERCENTAGE:
        raise UsageError(f"{flag} {text!r} is not a percentage", f"For example: {flag} 3%")
    return float(found[1]) / 100


def seconds_of(text: str, flag: str = "--for") -> float:
    """Return 5400.0 for `1h30m`. Raises UsageError if `text` is no time above 0."""
    found = TIME.fullmatch(text.strip())
    parts = [float(part or 0) for part in found.groups()] if found else []
    seconds = sum(part * unit for part, unit in zip(parts, UNITS_S, strict=False))
    if not 0 < seconds <= LONGEST_S:
        raise UsageError(
            f"{flag} {text!r} is not a time of at most a week",
            f"For example: {flag} 45m, or 1h30m.",
        )
    return seconds


DEFAULT_OUT = Path("results")


label_option = typer.Option(
    "--label",
    metavar="MODEL=LABEL",
    help="What tables and figures call a network: nets/mine.py:net=MyNet. Repeat it for others.",
)


wait_option = typer.Option(
    "--wait", help="Wait until no other run uses the device or the file of results."
)
patience_option = typer.Option(
    "--patience",
    metavar="SHARE",
    help="Before each block, wait until other programs are quiet, for at most this share of the "
    "run: 0.25. A round that they spoil all the same is set apart and repeated once.",
)
rounds_option = typer.Option(
    metavar="N", help="Measure each case in exactly N processes, whatever the preset."
)
budget_option = typer.Option(
    metavar="SECONDS", help="Start no round that would make a case take longer than this."
)
pace_option = typer.Option(
    metavar="RATE", help="Calls at a fixed rate: 15Hz is short for --scenario pace-15hz."
)
dry_run_option = typer.Option(
    "--dry-run", help="List the cases and the time they would take; measure nothing."
)
batch_option = typer.Option(metavar="N", help="Images per call.")
resolution_option = typer.Option(
    metavar="N", help="Height and width of an image in pixels.  [default: 224]"
)
input_option = typer.Option(metavar="CxHxW", help="Channels, height and width, as 1x224x320.")
weights_option = typer.Option(
    metavar="FILE", help="Weights: a .safetensors file or a torch checkpoint."
)
preset_option = typer.Option(
    metavar="|".join(PRESETS), help="How long a round takes.", autocompletion=completion.presets
)
device_option = typer.Option(
    help="The device: see `bench list devices`.", autocompletion=completion.devices
)
backend_option = typer.Option(
    metavar="A,B",
    help="Backends: see `bench list backends`.  [default: eager]",
    autocompletion=completion.last_of_list(completion.backends),
)
precision_option = typer.Option(
    metavar="A,B",
    help="Precisions: see `bench list precisions`.  [default: fp32]",
    autocompletion=completion.last_of_list(completion.precisions),
)
threads_option = typer.Option(
    metavar="N", help="CPU threads.  [default: all CPUs that this process may use]"
)
out_option = typer.Option(
    metavar="DIR", help="Results are written to DIR/<chip>/results.jsonl.", parser=as_folder
)
json_option = typer.Option("--json", help="Print JSON on standard output, and progress on stderr.")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of both `bench run` and `bench profile`. None means that a flag is not given."""

    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A grid of cases: a name from `bench list suites`, or your own TOML file. "
            "Other flags override it.",
            autocompletion=completion.suites,
        ),
    ] = None
    device: Annotated[str, device_option] = "cpu"
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B@FORM",
            help="Networks: names from `bench list models`, or your own net.py:factory; "
            "add +weights.pth for a file of weights. A name without @FORM means all forms.",
            autocompletion=completion.last_of_list(completion.models),
        ),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Weights for the model: a .safetensors file or a torch checkpoint."
        ),
    ] = None
    label: Annotated[list[str] | None, label_option] = None
    backend: Annotated[str | None, backend_option] = None
    precision: Annotated[str | None, precision_option] = None
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N,N|N..M",
            help="Images per call. Batch 1 gives the latency, a large batch the throughput; `bench "
            "run --batch 1..128` takes the sizes that the curve between them needs.  "
            "[default: 1,128]",
        ),
    ] = None
    resolution: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Height and width in pixels.  [default: 224]"),
    ] = None
    input: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW",
            help="Channels, height and width of an image, instead of --resolution: 1x224x320.",
        ),
    ] = None
    threads: Annotated[int | None, threads_option] = None
    allocator: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Where networks get their memory: see `bench list allocators`.  "
            "[default: default]",
            autocompletion=completion.last_of_list(completion.allocators),
        ),
    ] = None
    huge_pages: Annotated[
        str | None,
        typer.Option(
            "--huge-pages",
            metavar="A,B",
            help="Pages of that memory: see `bench list huge_pages`.  [default: default]",
            autocompletion=completion.last_of_list(completion.huge_pages),
        ),
    ] = None
    workload: Annotated[
        str | None,
        typer.Option(
            metavar="infer|train",
            help="What a timed call does: an inference, or a training step.  [default: infer]",
            autocompletion=completion.last_of_list(completion.workloads),
        ),
    ] = None
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="When a network is called: from a cold start, after a rest, at a fixed rate, with "
            "preprocessing; see `bench list scenarios`.  [default: tight]",
            autocompletion=completion.last_of_list(completion.scenarios),
        ),
    ] = None
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PRESETS),
            help="How long a case takes at batch 1: seconds, half a minute, or minutes.",
            autocompletion=completion.presets,
        ),
    ] = "default"
    out: Annotated[Path, out_option] = DEFAULT_OUT
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure cases that failed before again.")
    ] = False
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Measure all cases anew, also those on record. Earlier rounds stay in the file, "
            "but no longer count. Resume such a run without --again.",
        ),
    ] = False
    wait: Annotated[bool, wait_option] = False
    as_json: Annotated[bool, json_option] = False

"""`bench tune`."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from bench import paper
from bench.backends import BACKENDS
from bench.cli import completion, interrupts
from bench.cli.choice import Choice, choose, words
from bench.cli.console import progress_console, say, tell_json
from bench.cli.options import (
    DEFAULT_OUT,
    Options,
    as_folder,
    json_option,
    patience_option,
    percentage,
    seconds_of,
    wait_option,
    with_options,
)
from bench.cli.sweep import Sweep, locked, start, sweep_of
from bench.errors import CASE_FAILED, UsageError
from bench.harness import suite as suites
from bench.harness.plan import PRESETS
from bench.harness.scheduler import estimate

if TYPE_CHECKING:
    from bench.tune.page import Result
    from bench.tune.space import Space
    from bench.tune.tuning import Tuning

AS_CHECKED = "as-checked"


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """The flags of `bench tune`."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A network: a name from `bench list models`, or your own net.py:factory. "
            "MODEL@FORM tries that form alone.",
            autocompletion=completion.models,
            show_default=False,
        ),
    ]
    device: Annotated[
        str,
        typer.Option(
            help="The device: see `bench list devices`.", autocompletion=completion.devices
        ),
    ] = "cpu"
    batch: Annotated[int, typer.Option(metavar="N", help="Images per call.")] = 1
    resolution: Annotated[
        int | None,
        typer.Option(metavar="N", help="Height and width of an image in pixels.  [default: 224]"),
    ] = None
    input: Annotated[
        str | None,
        typer.Option(metavar="CxHxW", help="Channels, height and width, as 1x224x320."),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights: a .safetensors file or a torch checkpoint."),
    ] = None
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Backends to try.  [default: all that work here]",
            autocompletion=completion.last_of_list(completion.backends),
        ),
    ] = None
    precision: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Precisions to try.",
            autocompletion=completion.last_of_list(completion.precisions),
        ),
    ] = "fp32"
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="E",
            help="The largest error of a candidate, as a share of the difference between two "
            "images: 0.05.",
        ),
    ] = AS_CHECKED
    duration: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="Take at most this long: 90s, 20m, 1h30m."),
    ] = "20m"
    margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller difference is no gain.")
    ] = "2%"
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PRESETS),
            help="How long a round takes.",
            autocompletion=completion.presets,
        ),
    ] = "quick"
    patience: Annotated[float, patience_option] = 0.0
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Everything is written into DIR/<chip>/.", parser=as_folder
        ),
    ] = DEFAULT_OUT
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME",
            help="Also write the network that won as a file for its runtime: NAME.onnx, NAME.xml, "
            "NAME.pte, NAME.pt2 or NAME.engine.",
        ),
    ] = None
    again: Annotated[
        bool, typer.Option("--again", help="Start anew, also where a tuning is on record.")
    ] = False
    wait: Annotated[bool, wait_option] = False
    as_json: Annotated[bool, json_option] = False


@with_options(TuneOptions)
def tune(options: TuneOptions) -> int:
    """Find the fastest way to run a network here: its form, runtime, precision and settings.

    The same command continues a tuning that was stopped.
    """
    from bench.tune.tuning import Tuning, resumed

    for_s, margin = seconds_of(options.duration), percentage("--margin", options.margin)
    _check_export(options.export)
    console = progress_console(to_stderr=options.as_json)
    choice = _choose(options, console)
    space, lacking = _space(options, choice)
    _check_time(options, space, for_s)
    sweep = sweep_of(choice, options.out, console, retry_failed=False)
    fresh = Tuning(space, choice.environment.environment_id)
    with locked(sweep, wait=options.wait) as sweep:
        folder = sweep.store.path.parent
        tuning = fresh if options.again else resumed(fresh, folder)
        start(sweep, f"Tuning {space.forms[0].model}", needs_device=True)
        result = _tuned(options, sweep, tuning, (for_s, margin), lacking)
        page, recipe = _write(result, sweep)
    for sentence in result.sentences:
        say(console, sentence)
    say(console, f"page:    {page}")
    say(console, f"recipe:  bench run --models {options.model.partition('@')[0]}@tuned:{recipe}")
    if options.as_json:
        tell_json(_to_builtins(result))
    code = 0 if result.outcome.candidate else CASE_FAILED
    return _exported(options, result, console) if options.export and not code else code


def _choose(options: TuneOptions, console: Console) -> Choice:
    """Return the choice of all forms of one network, in eager mode. Raises UsageError."""
    choice = choose(
        Options(
            device=options.device,
            models=options.model,
            weights=options.weights,
            batch=str(options.batch),
            resolution=None if options.resolution is None else str(options.resolution),
            input=options.input,
            out=options.out,
            wait=options.wait,
        ),
        console,
    )
    models = list(dict.fromkeys(case.model for case in choice.cases))
    if len(models) != 1:
        raise UsageError(
            f"{options.model} names {len(models)} networks", "Tune one at a time: bench tune MODEL"
        )
    return choice


def _space(options: TuneOptions, choice: Choice) -> tuple[Space, list[str]]:
    from bench.tune import here

    backends, precisions = words(options.backend), words(options.precision) or ("fp32",)
    tolerance = _tolerance(options.tolerance)
    return here.space(choice.cases, backends, precisions, choice.environment.chip, tolerance)


def _check_export(name: Path | None) -> None:
    """Raise UsageError, before anything is measured, if no file can be written there."""
    if name is not None and not (name.name and os.access(name.absolute().parent, os.W_OK)):
        raise UsageError(
            f"--export {name}: no file can be written there", "Name a file in a folder of yours."
        )


def _tolerance(text: str) -> float | None:
    """Return 0.05 for `0.05`, and None for `as-checked`. Raises UsageError."""
    if text == AS_CHECKED:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise UsageError(
            f"--tolerance {text!r} is no number above 0 and at most 1",
            "For example: --tolerance 0.05, or as-checked for the limit of each precision.",
        )
    return number


def _check_time(options: TuneOptions, space: Space, for_s: float) -> None:
    """Raise UsageError if not even the first round of the search fits into `for_s`."""
    plan, macs = PRESETS[options.preset], paper.macs()
    guesses = {case: estimate.guess_iteration_s(case, macs.get(case.name)) for case in space.forms}
    least_s = sum(estimate.round_s(plan, *each, None) for each in guesses.items())
    if for_s < least_s:
        raise UsageError(
            f"--for {options.duration} is too short: one round of each form takes about "
            f"{least_s:.0f} s",
            "Give it ten times as long at least: --for 20m",
        )


def _tuned(
    options: TuneOptions,
    sweep: Sweep,
    tuning: Tuning,
    limits: tuple[float, float],
    lacking: list[str],
) -> Result:
    from bench.tune import final
    from bench.tune.page import Result
    from bench.tune.tuner import Place, Tuner

    for_s, margin = limits
    plan = suites.plan_for(options.preset, suites.Suite(), None, None, options.patience)
    place = Place(plan, sweep.store, sweep.environment, sweep.choice.sources)
    tell = functools.partial(say, sweep.console)
    tuner = Tuner(tuning, place, for_s, margin, tell, interrupts.check)
    board = tuner.run()
    done = tuner.tuning
    outcome = final.outcome(done, board)
    return Result(
        done,
        outcome,
        board,
        tuner.records(done.search_runs),
        tuner.records(done.final_runs),
        margin,
        lacking,
        tuner.peaks(outcome.winner) if outcome.candidate else None,
    )


def _write(result: Result, sweep: Sweep) -> list[Path]:
    """Write the page and the recipe; return their paths."""
    from bench.storage.pages import write_pages
    from bench.tune import page
    from bench.tune.recipe import recipe_of

    folder, name = sweep.store.path.parent, result.tuning.name
    recipe = recipe_of(result.outcome, sweep.environment)
    pages = {
        f"{name}.md": page.to_markdown(result, sweep.environment).encode(),
        f"{name}.recipe.json": msgspec.json.format(msgspec.json.encode(recipe), indent=1),
    }
    return write_pages(folder, pages)


def _to_builtins(result: Result) -> dict[str, object]:
    outcome = result.outcome
    ratio = outcome.ratio
    return {
        "baseline": outcome.baseline,
        "candidate": outcome.candidate,
        "winner": outcome.winner,
        "finding": outcome.finding,
        "ratio": ratio.point if ratio else None,
        "interval": [ratio.low, ratio.high] if ratio else None,
        "rounds": outcome.rounds,
        "share_of_peak": result.share_of_peak,
        "answer": result.sentences,
        "dropped": result.tuning.dropped,
    }


def _exported(options: TuneOptions, result: Result, console: Console) -> int:
    """Write the network that won as a file for its runtime; return the exit code."""
    from bench.cli import export

    winner = result.outcome.winner
    kind = BACKENDS[winner.backend].file_kind
    if not kind:
        say(console, f"no file: torch itself executes {winner.backend}; see the recipe")
        return 0
    assert options.export is not None
    network = options.model.partition("@")[0]
    return export.write(
        export.ExportOptions(
            model=network if winner.form == "plain" else f"{network}@{winner.form}",
            to=kind,
            out=options.export.with_suffix(BACKENDS[winner.backend].file_ends[0]),
            precision=winner.precision,
            batch=winner.batch,
            resolution=options.resolution,
            input=options.input,
            weights=options.weights,
            device=options.device,
            force=options.again,
        )
    )

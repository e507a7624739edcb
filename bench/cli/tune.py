"""`bench tune`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import shlex
import sys
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
    batch_option,
    input_option,
    json_option,
    patience_option,
    percentage,
    preset_option,
    resolution_option,
    seconds_of,
    wait_option,
    weights_option,
    with_options,
)
from bench.cli.sweep import Sweep, locked, start, sweep_of
from bench.errors import CASE_FAILED, UsageError
from bench.harness import networks
from bench.harness import suite as suites
from bench.harness.plan import Plan
from bench.harness.scheduler import estimate
from bench.models import forms, user
from bench.models.naming import by_title
from bench.text import duration

if TYPE_CHECKING:
    from bench.tune.final import Outcome
    from bench.tune.result import Result
    from bench.tune.space import Space
    from bench.tune.tuning import Tuning

AS_CHECKED = "as-checked"
LEAST_ROUNDS = 4  # of each form: one of the search, three of the final


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
    batch: Annotated[int, batch_option] = 1
    resolution: Annotated[int | None, resolution_option] = None
    input: Annotated[str | None, input_option] = None
    weights: Annotated[Path | None, weights_option] = None
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
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Also try the fastest candidate with one stage in another form (RepNeXt and "
            "Shortcut-act).",
        ),
    ] = False
    time: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="TIME",
            help="Start no round after this time: 90s, 20m, 1h30m. An export may take a minute.",
        ),
    ] = "20m"
    margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="A smaller difference is no gain.")
    ] = "2%"
    preset: Annotated[str, preset_option] = "quick"
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
    for_s, margin = seconds_of(options.time), percentage("--margin", options.margin)
    plan = suites.plan_for(options.preset, suites.Suite(), None, None, options.patience)
    _check_export(options.export)
    console = progress_console(to_stderr=options.as_json)
    choice = _choose(options, console)
    space, lacking = _space(options, choice)
    _check_time(plan, space, for_s)
    sweep = sweep_of(choice, options.out, console, retry_failed=False)
    with locked(sweep, wait=options.wait) as sweep:
        start(sweep, f"Tuning {space.forms[0].model}", needs_device=True)
        for each in lacking:
            say(console, f"not tried here: {each}")
        result = _tuned(sweep, _tuning(options, sweep, space), plan, (for_s, margin))
        result = result._replace(lacking=lacking)
        page, recipe, table = _write(result, sweep)
    for sentence in result.sentences:
        say(console, sentence)
    say(console, f"page:    {page}")
    say(console, f"table:   {table}")
    say(console, f"recipe:  {_command(options, recipe)}")
    if options.as_json:
        tell_json(_to_builtins(result))
    code = CASE_FAILED if result.has_failed else 0
    return code or (_exported(options, options.export, result, console) if options.export else 0)


def _choose(options: TuneOptions, console: Console) -> Choice:
    """Return the choice of all forms of one network, in eager mode. Raises UsageError."""
    if networks.TUNED in options.model:
        raise UsageError(
            f"{options.model} names a recipe", "Name the network alone: bench tune MODEL"
        )
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
        all_forms=True,
    )
    models = list(dict.fromkeys(case.model for case in choice.cases))
    if len(models) != 1:
        raise UsageError(
            f"{options.model} names {len(models)} networks", "Tune one at a time: bench tune MODEL"
        )
    return choice


def _space(options: TuneOptions, choice: Choice) -> tuple[Space, list[str]]:
    from bench.tune import offers

    backends, precisions = words(options.backend), words(options.precision) or ("fp32",)
    tolerance = _tolerance(options.tolerance)
    chip = choice.environment.chip
    return offers.space(choice.cases, backends, precisions, chip, tolerance, stages=options.stages)


def _check_export(name: Path | None) -> None:
    """Raise UsageError, before anything is measured, if no file can be written there."""
    if name is None:
        return
    folder = name.absolute().parent
    if not (name.name and folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(
            f"--export {name}: no file can be written there", "Name a file in a folder of yours."
        )
    ends = {end for backend in BACKENDS.values() for end in backend.file_ends}
    for path in sorted(_named(name, end) for end in ends):
        if path.exists():
            raise UsageError(f"{path} exists already", "Choose another name for --export.")


def _named(name: Path, end: str) -> Path:
    return name.with_name(name.name + end)


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
            f"--tolerance {text!r} is not a number above 0 and at most 1",
            "For example: --tolerance 0.05, or as-checked for the limit of each precision.",
        )
    return number


def _check_time(plan: Plan, space: Space, for_s: float) -> None:
    """Raise UsageError if not even LEAST_ROUNDS rounds of each form fit into `for_s`."""
    macs = paper.macs()
    guesses = {case: estimate.guess_iteration_s(case, macs.get(case.name)) for case in space.forms}
    least_s = LEAST_ROUNDS * sum(estimate.round_s(plan, *each, None) for each in guesses.items())
    if for_s < least_s:
        raise UsageError(
            f"--for {duration(for_s)} is too short: {LEAST_ROUNDS} rounds of each form take about "
            f"{duration(least_s)}",
            "A whole tuning takes about ten times as long.",
        )


def _tuning(options: TuneOptions, sweep: Sweep, space: Space) -> Tuning:
    """Return the tuning to continue, or a new one."""
    from bench.tune import offers
    from bench.tune.tuning import Tuning, resumed

    runtimes = offers.versions(space.runtimes) if sweep.choice.driver.runs_torch else {}
    fresh = Tuning(space, sweep.environment.environment_id, runtimes)
    if options.again:
        return fresh
    runs = {each.run_id for each in sweep.store.environments()}
    return resumed(fresh, sweep.store.path.parent, runs)


def _tuned(sweep: Sweep, tuning: Tuning, plan: Plan, limits: tuple[float, float]) -> Result:
    from bench.tune.result import result_of
    from bench.tune.tuner import Place, Tuner

    for_s, margin = limits
    place = Place(plan, sweep.store, sweep.environment, sweep.choice.sources)
    tell = functools.partial(say, sweep.console)
    tuner = Tuner(tuning, place, for_s, margin, tell, interrupts.check)
    done, board = tuner.run()
    found = result_of(done, sweep.store.records, sweep.environment, margin, board)
    if found.outcome.candidate is None or found.peaks:
        return found
    return found._replace(peaks=tuner.peaks(found.in_fp32.threads))


def _command(options: TuneOptions, recipe: Path) -> str:
    """Return the command that measures the recipe."""
    typed = ["bench", "run", "--models", f"{_network(options)}{networks.TUNED}{recipe}"]
    typed += ["--device", options.device] if options.device != TuneOptions.device else []
    typed += ["--weights", str(options.weights)] if options.weights else []
    return shlex.join(typed)


def _network(options: TuneOptions) -> str:
    """Return the name of the network without a form, as --models takes it."""
    return user.split_form(by_title(options.model))[0]


def _write(result: Result, sweep: Sweep) -> list[Path]:
    """Write the page, the recipe, and the table of all tunings here; return their paths."""
    from bench.storage.pages import write_pages
    from bench.tune import overview, page, tuning
    from bench.tune.recipe import recipe_of

    folder, name = sweep.store.path.parent, result.tuning.name
    recipe = recipe_of(result.outcome, sweep.environment)
    own = {
        f"{name}.md": page.to_markdown(result, sweep.environment).encode(),
        f"{name}.recipe.json": msgspec.json.format(msgspec.json.encode(recipe), indent=1),
    }
    written = write_pages(folder, own)
    alike, margin = tuning.all_like(result.tuning, folder), result.margin
    table = overview.to_markdown(alike, sweep.store.records, sweep.environment, margin)
    return [*written, *write_pages(folder, {"tuned.md": table.encode()})]


def _to_builtins(result: Result) -> dict[str, object]:
    return {
        **_outcome_to_builtins(result.outcome),
        "in_fp32": _outcome_to_builtins(result.exact) if result.exact else None,
        "share_of_peak": result.share_of_peak,
        "answer": result.sentences,
        "dropped": result.tuning.dropped,
    }


def _outcome_to_builtins(outcome: Outcome) -> dict[str, object]:
    ratio = outcome.ratio
    return {
        "baseline": outcome.baseline,
        "candidate": outcome.candidate,
        "winner": outcome.winner,
        "finding": outcome.finding,
        "ratio": ratio.point if ratio else None,
        "interval": [ratio.low, ratio.high] if ratio else None,
        "rounds": outcome.rounds,
    }


def _exported(options: TuneOptions, name: Path, result: Result, console: Console) -> int:
    """Write the network that won as a file, or say why not; return the exit code."""
    from bench.cli import export

    winner = result.outcome.winner
    backend = BACKENDS[winner.backend]
    if result.outcome.finding != "FASTER":
        say(console, "no file: no runtime was proven faster than eager mode")
        return 0
    if not backend.file_kind:
        say(console, f"no file: torch itself executes {winner.backend}; use the recipe")
        return 0
    network, path = _network(options), _named(name, backend.file_ends[0])
    wanted = export.ExportOptions(
        model=network if winner.form == forms.ONLY else f"{network}@{winner.form}",
        to=backend.file_kind,
        out=path,
        precision=winner.precision,
        batch=winner.batch,
        resolution=options.resolution,
        input=options.input,
        weights=options.weights,
        device=options.device,
    )
    with contextlib.redirect_stdout(sys.stderr if options.as_json else sys.stdout):
        return export.write(wanted)

"""`bench run`."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bench import devices, estimate, paper, runner, store
from bench import suite as suites
from bench.beside import beside
from bench.cli.progress import LiveTable, PlainLines, Tracker, conclude, plain, short
from bench.devices.proof import prove
from bench.environment import describe
from bench.errors import CASE_FAILED, InterruptedRunError, UsageError
from bench.models import zoo
from bench.plan import PRESETS, Plan
from bench.recorded import Recorded
from bench.records import Case, Environment, Record
from bench.stats import latency, summarise
from bench.store import History, Store
from bench.text import duration
from bench.verdict import Verdict

PIPE_WIDTH = 200
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


def _devices() -> list[str]:
    return [*devices.DEVICES, *devices.ALIASES]


def _models(incomplete: str) -> list[str]:
    """The last of the names so far, completed: `a,re` to `a,resnet50`."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in zoo.ZOO if name.startswith(last)]


def run(
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A grid of cases, as `bench list suites` names them, or your own TOML file.",
            autocompletion=suites.names,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="What to measure on: `bench list devices`.", autocompletion=_devices),
    ] = "cpu",
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B@FORM",
            help="Which networks: `bench list models`, or your own net.py:factory. "
            "Without @FORM, all forms of each.",
            autocompletion=_models,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint for the model, .safetensors or torch's."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="What executes them: `bench list backends`."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Number format: `bench list precisions`. Default: fp32."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Images a call: 1 gives latency, 128 throughput. Default: 1,128.",
        ),
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar="N,N", help="Pixels a side. Default: 224.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPU threads. Default: all that this process may use."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PRESETS),
            help="How thoroughly: seconds, half a minute or minutes a case at batch 1.",
            autocompletion=lambda: list(PRESETS),
        ),
    ] = "default",
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Exactly so many processes a case, whatever the preset."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Begin no round that would make a case take longer."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where results go: DIR/<chip>/results.jsonl.")
    ] = Path("reports"),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be measured and how long it takes.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON summary on standard output; progress on stderr.")
    ] = False,
) -> None:
    """Measure networks; the same command again goes on where it was stopped."""
    wanted = suites.load(suite) if suite else suites.Suite()
    overrides = suites.Overrides(
        models=_words(models),
        batch=_numbers("batch", batch),
        resolution=_numbers("resolution", resolution),
        backend=_words(backend),
        precision=_words(precision),
        weights=weights,
    )
    if threads is not None:
        suites.check_positive("threads", threads)
    plan = suites.plan_for(preset, wanted, rounds, budget)
    driver, chip = devices.select(device)
    cases = suites.expand(wanted, overrides, chip, threads)
    environment = describe(driver, chip, runner.new_run_id(), _command())
    console = _console(to_stderr=as_json)
    results = Store(out / chip.slug)
    if not dry_run:
        results.open()
    records = results.peek() if dry_run else results.records
    on_record = _histories(records, cases, environment.environment_id)
    progress = estimate.initial(plan, on_record, paper.macs(), retry_failed=retry_failed)
    if dry_run:
        _dry_run(console, cases, plan, progress, as_json=as_json)
        return
    if progress and driver.torch_device == "cuda":
        prove(chip.name)
    tracker = Tracker(plan, progress)
    display = (LiveTable if console.is_terminal else PlainLines)(console, tracker)
    plain(console, f"{_count(cases)} on {chip.name}, preset {preset}, into {results.path}")
    for warning in results.warnings:
        plain(console, f"warning: {warning}")
    try:
        with contextlib.closing(results), display:
            failures = runner.run(
                cases,
                plan,
                results,
                environment,
                display,
                retry_failed=retry_failed,
                sources=suites.sources(wanted, overrides),
            )
    except KeyboardInterrupt:
        raise InterruptedRunError(results.path) from None
    histories = _histories(results.records, cases, environment.environment_id)
    verdicts = _verdicts(results, environment, histories)
    next_command = f"python -m bench report {shlex.quote(str(out))}"
    conclude(console, histories, verdicts, results.path, next_command)
    if as_json:
        lines = [_as_json(case, each, verdicts.get(case)) for case, each in histories.items()]
        print(json.dumps(lines))
    if failures:
        raise typer.Exit(CASE_FAILED)


def _console(*, to_stderr: bool) -> Console:
    """Where progress goes; a pipe gets whole lines, however long."""
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _count(cases: Sequence[Case]) -> str:
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"


def _histories(
    records: Sequence[Record], cases: Sequence[Case], environment_id: str
) -> dict[Case, History]:
    return {case: store.history(records, case, environment_id) for case in cases}


def _verdicts(
    results: Store, environment: Environment, histories: Mapping[Case, History]
) -> dict[Case, Verdict]:
    """What to think of the cases that were measured."""
    own = [
        record
        for record in results.records
        if not isinstance(record, Environment)
        and record.environment_id == environment.environment_id
    ]
    recorded = Recorded(results.path.parent, environment, own)
    measured = [case for case, (rounds, failure) in histories.items() if rounds and not failure]
    return {case: recorded.verdict(case) for case in measured}


def _dry_run(
    console: Console,
    cases: Sequence[Case],
    plan: Plan,
    progress: Mapping[Case, estimate.CaseProgress],
    *,
    as_json: bool,
) -> None:
    """The cases and how long they would take; writes nothing."""
    seconds = {
        case: estimate.remaining_s(plan, {case: progress[case]}) if case in progress else 0.0
        for case in cases
    }
    if as_json:
        rows = [{"case": msgspec.to_builtins(case), "about_s": s} for case, s in seconds.items()]
        print(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "threads", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in cases:
        text = duration(seconds[case]) if case in progress else "on record"
        table.add_row(short(case), str(case.batch), str(case.threads), text)
    console.print(table)
    total = duration(sum(seconds.values()))
    plain(console, f"{_count(cases)}, about {total} in all; nothing was measured")


def _as_json(case: Case, history: History, verdict: Verdict | None) -> dict[str, object]:
    rounds, failure = history
    processes = [record.samples_s for record in rounds]
    summary = summarise(processes) if rounds else None
    interval = latency(processes)
    return {
        "case_id": case.case_id,
        "case": msgspec.to_builtins(case),
        "median_s": summary.median if summary else None,
        "mean_s": summary.mean if summary else None,
        "std_s": summary.std if summary and summary.samples > 1 else None,
        "throughput_img_s": case.batch / summary.median if summary else None,
        "samples": summary.samples if summary else 0,
        "interval_s": [interval.low, interval.high] if interval else None,
        **beside(rounds)._asdict(),
        "verdict": verdict.level if verdict else None,
        "doubts": [reason.seen for reason in verdict.reasons] if verdict else [],
        "stopped_by": rounds[-1].stopped_by if rounds else None,
        "failure": {"stage": failure.stage, "error": failure.error, "message": failure.message}
        if failure
        else None,
    }


def _words(text: str | None) -> tuple[str, ...] | None:
    """`a,b` to its parts. Raises UsageError where one is empty."""
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise UsageError(f"an empty name in {text!r}", "Separate names by single commas: a,b.")
    return words


def _numbers(what: str, text: str | None) -> tuple[int, ...] | None:
    """`1,128` to whole numbers. Raises UsageError for what is none."""
    words = _words(text)
    if words is None:
        return None
    for word in words:
        if not WHOLE_NUMBER.fullmatch(word):
            raise UsageError(f"{what} {word!r} is no whole number", f"For example: --{what} 1,128")
    numbers = tuple(int(word) for word in words)
    for number in numbers:
        suites.check_positive(what, number)
    return numbers


def _command() -> str:
    """This command as another may type it: without --out and without absolute paths."""
    words = iter(sys.argv[1:])
    kept = ["bench"]
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(runner.without_paths(word))
    return shlex.join(kept)

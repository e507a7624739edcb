"""`bench run`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer

from bench import devices, runner
from bench import suite as suites
from bench.environment import describe
from bench.errors import CASE_FAILED, INTERRUPTED, BenchError, UsageError
from bench.plan import PRESETS, Plan
from bench.records import Case, Failure, Measurement
from bench.stats import Summary, summarise
from bench.store import Store
from bench.text import plus_minus, significant


def run(
    suite: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="A grid of cases: `bench list suites`.")
    ] = None,
    device: Annotated[str, typer.Option(help="What to measure on: `bench list devices`.")] = "cpu",
    models: Annotated[
        str | None,
        typer.Option(metavar="A,B@FORM", help="Which networks; without @FORM, all its forms."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="A,B", help="What executes them. Default: eager.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="A,B", help="Number format. Default: fp32.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Images a call: 1 gives latency, 128 throughput."),
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar="N,N", help="Pixels a side. Default: 224.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: all that this process may use.")
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="|".join(PRESETS), help="How thoroughly.")
    ] = "default",
    rounds: Annotated[
        int | None, typer.Option(help="Exactly so many processes a case, whatever the preset.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="At most so long a case.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of results; one inside it per chip.")] = Path(
        "reports"
    ),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cases and stop.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON summary on standard output.")
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
        rounds=rounds,
    )
    if threads is not None:
        suites.check_positive("threads", threads)
    plan = suites.plan_for(preset, wanted, rounds, budget)
    driver, chip = devices.select(device)
    cases = suites.expand(wanted, overrides, chip, threads)
    if dry_run:
        print("\n".join(label(case) for case in cases))
        return
    store = Store(out / chip.slug)
    store.open()
    environment = describe(driver, chip, runner.new_run_id(), _command())
    printer = Printer(plan, sys.stderr if as_json else sys.stdout)
    count = "1 case" if len(cases) == 1 else f"{len(cases)} cases"
    printer.say(f"{count} on {chip.name}, preset {preset}, into {store.path}")
    for warning in store.warnings:
        printer.say(f"warning: {warning}")
    try:
        failures = runner.run(cases, plan, store, environment, printer, retry_failed=retry_failed)
    except KeyboardInterrupt:
        raise InterruptedRunError(store.path) from None
    if as_json:
        print(json.dumps([_as_json(case, store, environment.environment_id) for case in cases]))
    printer.say(f"next: python -m bench report {shlex.quote(str(out))}")
    if failures:
        raise typer.Exit(CASE_FAILED)


class InterruptedRunError(BenchError):
    """Ctrl-C: exit code 130."""

    exit_code = INTERRUPTED

    def __init__(self, path: Path) -> None:
        super().__init__(
            "interrupted", f"Finished rounds are in {path}; the same command again goes on."
        )


class Printer:
    """Says in plain lines what a run does: a row when a case first has numbers, and each round."""

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        self._plan = plan
        self._stream = stream
        self._seen: set[Case] = set()

    def say(self, line: str) -> None:
        """Print one line, now."""
        print(line, file=self._stream, flush=True)

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """How much is on record already."""
        if done:
            self.say(f"{len(done)} of them on record already, {len(todo)} to measure")

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case's first row is of its warm-up."""
        if case not in self._seen:
            self._seen.add(case)
            self.say(_line(case, summarise([[iteration_s]]), "provisional"))

    def sampled(self, case: Case, samples_s: Sequence[float]) -> None:
        """Plain lines come with each round, not with each block."""

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A row of all rounds so far."""
        last = rounds[-1]
        ended = "" if last.stopped_by == "round" else f", done ({last.stopped_by})"
        summary = summarise([record.samples_s for record in rounds])
        self.say(_line(case, summary, f"round {last.round}{ended}"))

    def failed(self, record: Failure) -> None:
        """A row for what could not be measured."""
        self.say(
            f"{label(record.case)}  FAILED at {record.stage}: {record.error}: {record.message}"
        )


def label(case: Case) -> str:
    """A case in one line: what it is called and what sets it apart."""
    return (
        f"{case.name:<24} batch {case.batch:<4} {case.backend} {case.precision} {case.resolution}²"
    )


def _line(case: Case, summary: Summary, remark: str) -> str:
    spread = plus_minus(summary.mean * 1e3, summary.std * 1e3)
    speed = significant(case.batch / summary.median)
    return f"{label(case)}  {spread:>14} ms  {speed:>6} img/s  n={summary.samples}  {remark}"


def _as_json(case: Case, store: Store, environment_id: str) -> dict[str, object]:
    rounds, failure = store.history(case, environment_id)
    summary = summarise([record.samples_s for record in rounds]) if rounds else None
    return {
        "case_id": case.case_id,
        "case": msgspec.to_builtins(case),
        "median_s": summary.median if summary else None,
        "mean_s": summary.mean if summary else None,
        "std_s": summary.std if summary and summary.samples > 1 else None,
        "throughput_img_s": case.batch / summary.median if summary else None,
        "samples": summary.samples if summary else 0,
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
        if not word.lstrip("-").isdecimal():
            raise UsageError(f"{what} {word!r} is no whole number", f"For example: --{what} 1,128")
    numbers = tuple(int(word) for word in words)
    for number in numbers:
        suites.check_positive(what, number)
    return numbers


def _command() -> str:
    """This command without absolute paths, since records leave the machine."""
    return runner.without_paths(shlex.join(["bench", *sys.argv[1:]]))

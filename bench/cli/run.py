"""`bench run`."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bench import paper
from bench.analysis.gpu_metrics import beside
from bench.analysis.profile.recorded import Known
from bench.analysis.recorded import Recorded
from bench.analysis.stats import latency, summarise
from bench.analysis.verdict import Verdict
from bench.cli import options as opt
from bench.cli.profile import profile_cases
from bench.cli.progress import LiveTable, PlainLines, Tracker, conclude, plain, short
from bench.devices.proof import prove
from bench.errors import CASE_FAILED, InterruptedRunError
from bench.harness import suite as suites
from bench.harness.plan import PROFILE_S, Plan
from bench.harness.scheduler import estimate, runner
from bench.records import Case, Environment, Record, of_cases
from bench.storage import results as store
from bench.storage.results import History, Store
from bench.text import duration

PIPE_WIDTH = 200


def run(
    suite: opt.SuiteName = None,
    device: opt.DeviceName = "cpu",
    models: opt.Models = None,
    weights: opt.Weights = None,
    backend: opt.Backends = None,
    precision: opt.Precisions = None,
    batch: opt.Batches = None,
    resolution: opt.Resolutions = None,
    threads: opt.Threads = None,
    preset: opt.PresetName = "default",
    rounds: opt.Rounds = None,
    budget: opt.Budget = None,
    out: opt.Out = Path("reports"),
    retry_failed: opt.RetryFailed = False,
    wait: opt.Wait = False,
    dry_run: opt.DryRun = False,
    as_json: opt.AsJson = False,
) -> None:
    """Measure networks; the same command again goes on where it was stopped."""
    flags = opt.Flags(
        suite, device, models, weights, backend, precision, batch, resolution, threads
    )
    chosen = opt.choose(flags)
    cases, environment, chip = chosen.cases, chosen.environment, chosen.environment.chip
    plan = suites.plan_for(preset, chosen.suite, rounds, budget)
    console = _console(to_stderr=as_json)
    results = Store(out / chip.slug)
    known = functools.partial(_histories, cases=cases, environment_id=environment.environment_id)
    ahead = functools.partial(estimate.initial, plan, retry_failed=retry_failed)
    if dry_run:
        progress = ahead(known(results.records), paper.macs())
        _dry_run(console, cases, plan, progress, as_json=as_json)
        return
    with opt.alone(chosen, results, console, wait=wait) as chosen:
        here = environment.environment_id
        before = {case: results.history(case, here) for case in cases}
        progress = ahead(before, paper.macs())
        if progress and chosen.device.torch_device == "cuda":
            prove(chip.name)
        tracker = Tracker(plan, progress)
        display = (LiveTable if console.is_terminal else PlainLines)(console, tracker)
        plain(console, f"{_count(cases)} on {chip.name}, preset {preset}, into {results.path}")
        for warning in results.warnings:
            plain(console, f"warning: {warning}")
        try:
            with display:
                failures = runner.run(
                    cases,
                    plan,
                    results,
                    chosen.environment,
                    display,
                    retry_failed=retry_failed,
                    sources=chosen.sources,
                )
        except KeyboardInterrupt:
            raise InterruptedRunError(results.path) from None
        profiles = _profiles(console, chosen, results, preset, retry_failed=retry_failed)
        records = results.records
    histories = known(records)
    verdicts = _verdicts(results.path.parent, records, environment, histories)
    next_command = f"python -m bench report {shlex.quote(str(out))}"
    conclude(console, histories, verdicts, results.path, next_command)
    if as_json:
        lines = [_as_json(case, each, verdicts.get(case)) for case, each in histories.items()]
        print(json.dumps(lines))
    if failures or any(known.failure for known in profiles):
        raise typer.Exit(CASE_FAILED)


def _profiles(
    console: Console, chosen: opt.Chosen, results: Store, preset: str, *, retry_failed: bool
) -> Sequence[Known]:
    """The profiles that a suite asks for, of its cases at batch 1."""
    cases = [case for case in chosen.cases if case.batch == 1]
    if not chosen.suite.profile or not cases or chosen.environment.chip.device == "fake":
        return []
    wanted = chosen._replace(cases=cases)
    seconds = PROFILE_S[preset]
    return profile_cases(console, wanted, results, seconds, retry_failed=retry_failed)


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
    folder: Path,
    records: Sequence[Record],
    environment: Environment,
    histories: Mapping[Case, History],
) -> dict[Case, Verdict]:
    """What to think of the cases that were measured."""
    here = environment.environment_id
    own = [record for record in of_cases(records) if record.environment_id == here]
    recorded = Recorded(folder, environment, own)
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

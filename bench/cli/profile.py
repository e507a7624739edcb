"""`bench profile`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench import suite as suites
from bench.cli import options as opt
from bench.cli.progress import plain
from bench.devices.proof import prove
from bench.errors import CASE_FAILED, InterruptedRunError, UsageError
from bench.records import Case, Failure, Profile
from bench.store import Store
from bench.text import duration

TRACES = "traces"
BATCH = "1"


def profile(
    suite: opt.SuiteName = None,
    device: opt.DeviceName = "cpu",
    models: opt.Models = None,
    weights: opt.Weights = None,
    backend: opt.Backends = None,
    precision: opt.Precisions = None,
    batch: opt.Batches = BATCH,
    resolution: opt.Resolutions = None,
    threads: opt.Threads = None,
    preset: opt.PresetName = "quick",
    diff: Annotated[
        bool, typer.Option("--diff", help="Of two cases: what the second gained and lost.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Keep traces for Chrome or Perfetto, in DIR/<chip>/traces/."),
    ] = False,
    out: opt.Out = Path("reports"),
    retry_failed: opt.RetryFailed = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say where the time goes: operators by module and kind, adding up to the plain latency."""
    chosen = opt.choose(
        suite, device, models, weights, backend, precision, batch, resolution, threads
    )
    suites.plan_for(preset, chosen.suite, None, None)
    cases, environment = chosen.cases, chosen.environment
    if environment.chip.device == "fake":
        raise UsageError("the fake device has no operators to profile", "Choose another --device.")
    if diff and len(cases) != 2:
        raise UsageError(
            f"--diff is between two cases, not {len(cases)}",
            "Name both with their form: --models repnext_u3_t@train,repnext_u3_t@rrep",
        )
    console = Console(stderr=True, highlight=False)
    results = Store(out / environment.chip.slug)
    results.open()
    if chosen.device.torch_device == "cuda":
        prove(environment.chip.name)
    from bench import profiler
    from bench.report import profiles

    def say(record: Profile | Failure) -> None:
        plain(console, _line(record))

    plain(console, f"{len(cases)} to profile on {environment.chip.name}, into {results.path}")
    try:
        with contextlib.closing(results):
            found = profiler.profile(
                cases,
                preset,
                results,
                environment,
                say,
                retry_failed=retry_failed,
                sources=suites.sources(chosen.suite, chosen.overrides),
                traces=results.path.parent / TRACES if trace else None,
            )
    except KeyboardInterrupt:
        raise InterruptedRunError(results.path) from None
    good = [record for record in found if isinstance(record, Profile)]
    if as_json:
        print(msgspec.json.encode(found).decode())
    elif diff and len(good) == len(cases):
        print(profiles.difference_page(*good), end="")
    elif good:
        here = environment.environment_id
        peaks = {p.case_id: profiler.peaks_of(results.records, p.case, here) for p in good}
        print(profiles.page(good, peaks), end="")
    if len(good) < len(cases):
        raise typer.Exit(CASE_FAILED)


def _line(record: Profile | Failure) -> str:
    case: Case = record.case
    if isinstance(record, Failure):
        message = " ".join(record.message.split())
        return f"{case.name} failed: {record.error}: {message}"
    waterfall = record.waterfall
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    spent = duration(sum(record.plain_samples_s) + sum(record.profiled_samples_s))
    return f"{case.name}: {1e3 * waterfall.plain_s:.1f} ms, residual {residual:+.1f} %, in {spent}"

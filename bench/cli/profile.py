"""`bench profile`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench.analysis.profile.recorded import Known
from bench.backends import BACKENDS
from bench.cli import options as opt
from bench.cli.progress import plain, short
from bench.devices.precision import PRECISIONS
from bench.devices.proof import prove
from bench.errors import CASE_FAILED, InterruptedRunError, UsageError, unknown
from bench.harness import suite as suites
from bench.harness.plan import PROFILE_S
from bench.records import Failure, Profile
from bench.storage.results import Store
from bench.text import duration

LONGEST_S = 600.0
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
    seconds: Annotated[
        float | None,
        typer.Option(metavar="N", help="Of blocks a case. Default: 4.5, 9 or 30, by --preset."),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--diff",
            metavar="A B",
            help="What B gained and lost against A: models, or 'model@form compile bf16'.",
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Keep traces for Chrome or Perfetto, in DIR/<chip>/traces/."),
    ] = False,
    out: opt.Out = Path("reports"),
    retry_failed: opt.RetryFailed = False,
    wait: opt.Wait = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say where the time goes: operators by module and kind, adding up to the plain latency."""
    flags = opt.Flags(
        suite, device, models, weights, backend, precision, batch, resolution, threads
    )
    suites.check_preset(preset)
    if seconds is not None and not 0 < seconds <= LONGEST_S:
        raise UsageError(f"{seconds:g} seconds", f"Give a number above 0, {LONGEST_S:g} at most.")
    asked = [opt.choose(each) for each in (_two(flags, *diff) if diff else [flags])]
    first, cases = asked[0], [case for each in asked for case in each.cases]
    if first.environment.chip.device == "fake":
        raise UsageError("the fake device has no operators to profile", "Choose another --device.")
    if diff and [len(each.cases) for each in asked] != [1, 1]:
        raise UsageError(
            f"--diff is between two cases, not {len(cases)}",
            "Name both with their form: --diff repnext_u3_t@train repnext_u3_t@rrep",
        )
    console = Console(stderr=True, highlight=False)
    results = Store(out / first.environment.chip.slug)
    with opt.alone(first, results, console, wait=wait) as first:
        wanted = first._replace(
            cases=cases,
            sources={name: source for each in asked for name, source in each.sources.items()},
        )
        found = profile_cases(
            console,
            wanted,
            results,
            seconds or PROFILE_S[preset],
            retry_failed=retry_failed,
            trace=trace,
        )
    _show(found, results, is_difference=bool(diff), as_json=as_json)
    if any(known.failure for known in found):
        raise typer.Exit(CASE_FAILED)


def profile_cases(
    console: Console,
    chosen: opt.Chosen,
    results: Store,
    seconds: float,
    *,
    retry_failed: bool = False,
    trace: bool = False,
) -> list[Known]:
    """Profile what was chosen into `results`, and tell of each case; what is then on record."""
    from bench.harness.scheduler import profiler

    chip = chosen.environment.chip
    if chosen.device.torch_device == "cuda":
        prove(chip.name)
    plain(console, f"{len(chosen.cases)} to profile on {chip.name}, into {results.path}")
    try:
        return profiler.profile(
            chosen.cases,
            seconds,
            results,
            chosen.environment,
            lambda known: plain(console, _line(known)),
            retry_failed=retry_failed,
            sources=chosen.sources,
            traces=results.path.parent / TRACES if trace else None,
        )
    except KeyboardInterrupt:
        raise InterruptedRunError(results.path) from None


def _two(flags: opt.Flags, *names: str) -> list[opt.Flags]:
    """The flags of both sides of --diff: of `resnet50 compile bf16`, its model and setting."""
    if flags.suite or flags.models:
        raise UsageError("--diff names its two cases itself", "Leave out --suite and --models.")
    sides = []
    for name in names:
        model, *words = name.split() or [""]
        setting = flags._replace(models=model)
        for word in words:
            if word in BACKENDS:
                setting = setting._replace(backend=word)
            elif word in PRECISIONS:
                setting = setting._replace(precision=word)
            else:
                raise unknown("backend or precision", word, [*BACKENDS, *PRECISIONS])
        sides.append(setting)
    return sides


def _show(found: Sequence[Known], results: Store, *, is_difference: bool, as_json: bool) -> None:
    """What was found, on standard output."""
    from bench.analysis.profile.recorded import peaks_of
    from bench.report.tables import profiles

    good = [known for known in found if not known.failure]
    if as_json:
        print(msgspec.json.encode([_record(known) for known in found]).decode())
    elif is_difference and len(good) == len(found):
        print(profiles.difference_page(*(known.rounds for known in good)), end="")
    elif good:
        shown = [known.profile for known in good]
        peaks = {profile.case_id: peaks_of(results.records, profile) for profile in shown}
        print(profiles.page(shown, peaks), end="")


def _record(known: Known) -> Profile | Failure:
    return known.failure or known.profile


def _line(known: Known) -> str:
    """How one case went."""
    record = _record(known)
    name = short(record.case)
    if isinstance(record, Failure):
        return f"{name} failed: {record.error}: {' '.join(record.message.split())}"
    waterfall = record.waterfall
    residual = 100 * waterfall.residual_s / waterfall.plain_s
    spent = duration(sum(record.plain_samples_s) + sum(record.profiled_samples_s))
    return f"{name}: {1e3 * waterfall.plain_s:.1f} ms, residual {residual:+.1f} %, in {spent}"

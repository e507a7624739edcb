"""How a number came about, in words: what was measured, what ended it, and what to think of it."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterator, Sequence

from bench.analysis import stats
from bench.analysis.gpu_metrics import gpu_metrics
from bench.analysis.ratio import usual_state
from bench.analysis.recorded import Recorded, unhashed
from bench.records import Case, Conditions, Failure, Measurement
from bench.text import duration, milliseconds, plus_minus, significant

PERCENTILES = (0.9, 0.95, 0.99)
SHOWN_PROCESSES = 12
WHY_ENDED = {
    "round": "nothing yet: more rounds were to come",
    "precision": "precision: the 95 % interval is as narrow as the preset asks",
    "noise": "noise: the interval no longer became narrower",
    "rounds": "rounds: as many as were asked for",
    "budget": "budget: another round would have taken too long",
}


def explain(recorded: Recorded, case: Case) -> list[tuple[str, str]]:
    """Lines of a heading and a text about `case`, in the order in which a doubter would ask."""
    rounds, failure = recorded.history(case)
    lines = [("case", _what(recorded, case))]
    if failure:
        lines += _of_failure(failure)
    if rounds:
        lines += [*_of_samples(rounds), *_of_machine(recorded, case, rounds)]
    lines.append(("repeat", _command(case, rounds)))
    return lines


def _what(recorded: Recorded, case: Case) -> str:
    chip, versions = recorded.environment.chip, recorded.environment.versions
    with_ = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "timm") if versions.get(name)
    )
    setting = f"batch {case.batch}, {case.resolution}², {case.backend}, {case.precision}"
    threads = "1 thread" if case.threads == 1 else f"{case.threads} threads"
    where = f"{threads} of {chip.name}" + (f", {with_}" if with_ else "")
    return f"{case.case_id}: {case.name}, {setting}, on {where}"


def _of_failure(failure: Failure) -> Iterator[tuple[str, str]]:
    yield "failed", f"at {failure.stage}, round {failure.round}: {failure.error}: {failure.message}"
    if failure.stderr_tail.strip():
        yield "it said", failure.stderr_tail.strip()


def _of_samples(rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    processes = [record.samples_s for record in rounds]
    summary = stats.summarise(processes)
    pooled = [sample for samples in processes for sample in samples]
    spread = plus_minus(summary.mean * 1e3, summary.std * 1e3)
    yield "latency", f"{spread} ms: mean ± standard deviation of all iterations"
    yield "median", f"{_ms(summary.median)} ms; {_percentiles(pooled)}"
    yield "interval", _interval(processes)
    yield "processes", _processes(rounds)
    outliers = stats.count_outliers(pooled)
    far = f"; {outliers} lie far from the rest, and were kept" if outliers else ""
    blocks = sum(len(record.block_sizes) for record in rounds)
    yield (
        "samples",
        f"{summary.samples} iterations in {blocks} blocks of {_count(len(rounds), 'process')}{far}",
    )
    discarded = sum(record.discarded for record in rounds)
    unsteady = sum(record.steady is False for record in rounds)
    settled = f"; in {unsteady} of them the warm-up had not settled" if unsteady else ""
    yield from _of_gpu(rounds)
    yield "discarded", f"{discarded} calls: the first, the warm-up, one before each block{settled}"
    yield "ended by", WHY_ENDED[rounds[-1].stopped_by]
    spent = [record.stages_s.total + record.share_s for record in rounds]
    timed = sum(record.stages_s.timed for record in rounds)
    yield "took", f"{duration(sum(spent))} in all, {duration(timed)} of it timed"
    yield "check", _check(rounds[0])


def _of_gpu(rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """What only a device with a queue and sensors of its own has."""
    found = gpu_metrics(rounds)
    if found.device_s is not None:
        yield "device", f"{_ms(found.device_s)} ms an iteration by the device's own clock, median"
    if found.pipelined_img_s is not None:
        speed = significant(found.pipelined_img_s)
        yield "pipelined", f"{speed} img/s where calls are queued without waiting in between"
    seen = next((record.telemetry for record in rounds if record.telemetry), None)
    if seen is not None:
        words = [f"{duration(seen.seconds)} of back-to-back calls"]
        if found.utilisation is not None:
            words.append(f"a kernel ran {100 * found.utilisation:.0f} % of the time")
        if found.power_w is not None:
            words.append(f"{significant(found.power_w)} W")
        if found.energy_per_image_j is not None:
            joules = significant(1e3 * found.energy_per_image_j)
            words.append(f"{joules} mJ an image, idle power included")
        unread = (f"no {name}: {why}" for name, why in seen.missing.items())
        yield "observed", "; ".join([*words, *unread])


def _percentiles(pooled: Sequence[float]) -> str:
    known = {share: stats.percentile(pooled, share) for share in PERCENTILES}
    texts = [f"p{100 * share:.0f} {_ms(value)} ms" for share, value in known.items() if value]
    return ", ".join(texts) or "too few samples for a percentile above it"


def _interval(processes: Sequence[Sequence[float]]) -> str:
    estimate = stats.latency(processes)
    if estimate is not None:
        width = f"± {100 * estimate.half_width:.2g} %"
        bounds = f"{_ms(estimate.low)} to {_ms(estimate.high)} ms ({width})"
        return f"{bounds} holds the mean of the processes' medians with 95 % confidence"
    within = stats.median_interval(processes[0])
    alone = "a single process tells nothing of others, so there is none"
    if within is None:
        return alone
    return f"{alone}; within it the median is {_ms(within.low)} to {_ms(within.high)} ms"


def _processes(rounds: Sequence[Measurement]) -> str:
    """The median of each, and what often tells them apart: page faults."""
    shown = ", ".join(_ms(statistics.median(r.samples_s)) for r in rounds[:SHOWN_PROCESSES])
    faults = [
        significant(r.conditions.page_faults / len(r.samples_s), 2)
        for r in rounds[:SHOWN_PROCESSES]
        if r.conditions and r.conditions.page_faults is not None
    ]
    more = ", …" if len(rounds) > SHOWN_PROCESSES else ""
    each = f"; page faults an iteration {', '.join(faults)}{more}" if faults else ""
    return f"medians {shown}{more} ms{each}"


def _check(first: Measurement) -> str:
    check = first.check
    if check.against is None or check.largest_relative_error is None or check.tolerance is None:
        return "finite output of the right shape; it is the reference for all others itself"
    return (
        f"differs from {check.against} by {check.largest_relative_error:.1e} of what two images "
        f"differ by; tolerated is {check.tolerance:g}"
    )


def _of_machine(
    recorded: Recorded, case: Case, rounds: Sequence[Measurement]
) -> Iterator[tuple[str, str]]:
    conditions = [record.conditions for record in rounds if record.conditions]
    yield "machine", "; ".join(_state(conditions)) or "its state was not recorded"
    quiet, own = recorded.quiet(case), usual_state(rounds)
    if quiet and own:
        compute, memory = map(math.exp, own)
        yield (
            "kernels",
            f"computing took {_ms(compute)} ms ({_ms(quiet.compute_s)} when it is quiet), "
            f"copying memory {_ms(memory)} ms ({_ms(quiet.memory_s)})",
        )
    settings = rounds[-1].settings
    if settings:
        yield "settings", ", ".join(f"{name} {value}" for name, value in settings.items())
    warnings = dict.fromkeys(warning for record in rounds for warning in record.warnings)
    if warnings:
        yield "warnings", "; ".join(warnings)
    verdict = recorded.verdict(case)
    yield "verdict", verdict.text
    if verdict.reasons:
        remedies = dict.fromkeys(reason.doubt.value for reason in verdict.reasons)
        yield "remedy", " ".join(remedies)


def _state(conditions: Sequence[Conditions]) -> Iterator[str]:
    wall_s = sum(seen.wall_s for seen in conditions)
    if not wall_s:
        return
    for field, text in (
        ("own_cpu_s", "our process used {:.2g} CPUs"),
        ("busy_cpu_s", "everybody {:.2g}"),
        ("stolen_cpu_s", "the host took {:.2g}"),
        ("throttled_s", "a quota stopped us {:.2g} s a second"),
    ):
        values = [getattr(seen, field) for seen in conditions]
        if None not in values:
            yield text.format(sum(values) / wall_s)
    clocks = [c for seen in conditions for c in (seen.lowest_clock_hz, seen.highest_clock_hz) if c]
    if clocks:
        yield f"clock {min(clocks) / 1e9:.2f} to {max(clocks) / 1e9:.2f} GHz"
    for field, text in (
        ("highest_temperature_c", "at most {:.0f} °C"),
        ("highest_power_w", "at most {:.0f} W"),
    ):
        highest = [value for seen in conditions if (value := getattr(seen, field)) is not None]
        if highest:
            yield text.format(max(highest))
    throttles = sorted({why for seen in conditions for why in seen.throttled_by or []})
    if throttles:
        yield f"the clock was held down by {', '.join(throttles)}"


def _command(case: Case, rounds: Sequence[Measurement]) -> str:
    preset = ["--preset", rounds[0].preset] if rounds else []
    model, plus, weights = unhashed(case.model).partition("+")
    name = Case(model, case.form).name
    words = ["python", "-m", "bench", "run", "--device", case.device, "--models", name]
    words += ["--batch", str(case.batch), "--resolution", str(case.resolution)]
    words += ["--backend", case.backend, "--precision", case.precision]
    words += ["--threads", str(case.threads), *preset, "--rounds", str(max(len(rounds), 1))]
    words += ["--weights", weights] if plus else []
    return shlex.join([*words, "--out", "again"])


def _count(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number} {thing}es"


def _ms(seconds: float) -> str:
    return significant(milliseconds(seconds))

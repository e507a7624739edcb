"""`bench explain`: how a case was measured, why measuring ended, and the verdict, as text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from bench.analysis import commands, in_use, interval, kinds, stats
from bench.analysis.gpu_metrics import gpu_metrics
from bench.analysis.ratio import usual_state
from bench.analysis.recorded import Recorded
from bench.models.naming import allocation, name
from bench.records import Case, Conditions, Failure, Measurement
from bench.records.scenario import TIGHT
from bench.text import duration, milliseconds, significant

SHOWN_PROCESSES = 12
WHY_ENDED = {
    "round": "not finished: the run planned more rounds",
    "precision": "precision: the 95 % interval reached the width that the preset asks for",
    "noise": "noise: more rounds no longer narrowed the interval",
    "rounds": "rounds: the requested number of rounds was measured",
    "budget": "budget: another round would have exceeded the time budget",
}


def explain(recorded: Recorded, case: Case) -> list[tuple[str, str]]:
    """(heading, text) pairs about `case`; the headings are the keys of `bench explain --json`."""
    rounds, failure = recorded.history(case)
    lines = [("case", _what(recorded, case))]
    if failure:
        lines += _of_failure(failure)
    if rounds:
        lines += [*_of_samples(rounds), *_of_machine(recorded, case, rounds)]
    preset = rounds[0].preset if rounds else ""
    lines.append(("repeat", commands.measure(case, "again", preset, max(len(rounds), 1))))
    return lines


def _what(recorded: Recorded, case: Case) -> str:
    chip, versions = recorded.environment.chip, recorded.environment.versions
    with_ = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "timm") if versions.get(name)
    )
    setting = f"batch {case.batch}, {case.resolution}², {case.backend}, {case.precision}"
    threads = "1 thread" if case.threads == 1 else f"{case.threads} threads"
    setting += f", {memory}" if (memory := allocation(case)) else ""
    setting += ", training steps" if case.trains else ""
    setting += "" if case.scenario == TIGHT else f", scenario {case.scenario}"
    where = f"{threads} of {chip.name}" + (f", {with_}" if with_ else "")
    called = f"{name(case)} ({case.name})" if case.label else case.name
    return f"{case.case_id}: {called}, {setting}, on {where}"


def _of_failure(failure: Failure) -> Iterator[tuple[str, str]]:
    yield "failed", f"at {failure.stage}, round {failure.round}: {failure.error}: {failure.message}"
    if failure.stderr_tail.strip():
        yield "it said", failure.stderr_tail.strip()


def _of_samples(rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    processes = [record.samples_s for record in rounds]
    group = max(record.calls_per_sample for record in rounds)
    summary = stats.summarise(processes, grouped=group > 1)
    pooled = [sample for samples in processes for sample in samples]
    yield "latency", f"{_ms(summary.latency)} ms: mean of the processes' medians"
    yield "interval", _interval(rounds)
    if group > 1:
        calls = f"a sample is the mean of {group} calls"
        yield "mean", f"{summary.spread_ms} ms, of all iterations; {calls}"
        yield "median", f"{_ms(summary.median)} ms, of groups of calls"
    else:
        yield "mean", f"{summary.spread_ms} ms: mean ± standard deviation of all iterations"
        yield "median", f"{_ms(summary.median)} ms; {_percentiles(processes)}"
    yield "processes", _processes(rounds)
    outliers = stats.count_outliers(pooled)
    far = f"; {_count(outliers, 'outlier')} included" if outliers else ""
    blocks = sum(len(record.block_sizes) for record in rounds)
    yield (
        "samples",
        f"{summary.samples} iterations in {blocks} blocks of {_count(len(rounds), 'process')}{far}",
    )
    discarded = sum(record.discarded for record in rounds)
    unsteady = sum(record.steady is False for record in rounds)
    settled = f"; the warm-up had not settled in {_count(unsteady, 'process')}" if unsteady else ""
    yield from _of_scenario(rounds)
    yield from _of_gpu(rounds)
    yield (
        "discarded",
        f"{discarded} calls: the first call, the warm-up, one call before each block{settled}",
    )
    yield "ended by", WHY_ENDED[rounds[-1].stopped_by]
    spent = [record.stages_s.total + record.share_s for record in rounds]
    timed = sum(record.stages_s.timed for record in rounds)
    yield "took", f"{duration(sum(spent))} in total, of which {duration(timed)} was timed"
    yield "check", _check(rounds[0])


def _of_scenario(rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """The parts of a sample, and the images that came late or were dropped."""
    if each := in_use.parts(rounds):
        shown = ", ".join(f"{name} {_ms(seconds)}" for name, seconds in each.items())
        yield "parts", f"{shown} ms: means of the processes' medians"
    if rounds[0].late is not None:
        found = in_use.arrivals(rounds)
        yield (
            "images",
            f"{found.answered} answered, {found.late} of them late; {found.dropped} dropped",
        )


def _of_gpu(rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Metrics of a GPU: its own clock, pipelined throughput, utilisation, power and energy."""
    found = gpu_metrics(rounds)
    if found.device_s is not None:
        yield "device", f"median {_ms(found.device_s)} ms per iteration by the device's own clock"
    if found.pipelined_img_s is not None:
        speed = significant(found.pipelined_img_s)
        yield "pipelined", f"{speed} img/s when calls are queued without waiting for each other"
    seen = next((record.telemetry for record in rounds if record.telemetry), None)
    if seen is not None:
        words = [f"{duration(seen.seconds)} of back-to-back calls"]
        if found.utilisation is not None:
            words.append(f"a kernel ran {100 * found.utilisation:.0f} % of the time")
        if found.power_w is not None:
            words.append(f"{significant(found.power_w)} W")
        if found.energy_per_image_j is not None:
            joules = significant(1e3 * found.energy_per_image_j)
            words.append(f"{joules} mJ per image, including idle power")
        unread = (f"no {name}: {why}" for name, why in seen.missing.items())
        yield "observed", "; ".join([*words, *unread])


def _percentiles(processes: Sequence[Sequence[float]]) -> str:
    known = stats.tail(processes)._asdict()
    texts = [f"{name} {_ms(value)} ms" for name, value in known.items() if value]
    return ", ".join(texts) or "too few samples for higher percentiles"


def _interval(rounds: Sequence[Measurement]) -> str:
    estimate = interval.interval(rounds)
    if estimate is not None:
        width = f"± {100 * estimate.half_width:.2g} %"
        bounds = f"{_ms(estimate.low)} to {_ms(estimate.high)} ms ({width})"
        return f"{bounds}: 95 % confidence interval of the mean of the processes' medians"
    return f"none: it needs at least {stats.FEWEST_PROCESSES} processes"


def _processes(rounds: Sequence[Measurement]) -> str:
    """The median of each process, and its page faults, which often explain the differences."""
    shown = ", ".join(_ms(statistics.median(r.samples_s)) for r in rounds[:SHOWN_PROCESSES])
    faults = [
        significant(known, 2)
        for r in rounds[:SHOWN_PROCESSES]
        if (known := kinds.faults_per_call(r)) is not None
    ]
    more = ", …" if len(rounds) > SHOWN_PROCESSES else ""
    each = f"; page faults per iteration {', '.join(faults)}{more}" if faults else ""
    return f"medians {shown}{more} ms{each}"


def _check(first: Measurement) -> str:
    check = first.check
    if check.against is None or check.largest_relative_error is None or check.tolerance is None:
        return "the output is finite and has the right shape; other cases are checked against it"
    of_what = "of their norm" if first.case.trains else "of the difference between two images"
    return (
        f"differs from {check.against} by {check.largest_relative_error:.1e} {of_what}; the "
        f"tolerance is {check.tolerance:g}"
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
            f"computation took {_ms(compute)} ms ({_ms(quiet.compute_s)} on the quiet machine), "
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
        ("own_cpu_s", "this process used {:.2g} CPUs"),
        ("busy_cpu_s", "all processes {:.2g}"),
        ("stolen_cpu_s", "other guests of the host {:.2g}"),
        ("throttled_s", "a CPU quota stopped this process for {:.2g} s per second"),
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
        yield f"the clock was throttled by {', '.join(throttles)}"


def _count(number: int, thing: str) -> str:
    ending = "es" if thing.endswith("s") else "s"
    return f"1 {thing}" if number == 1 else f"{number} {thing}{ending}"


def _ms(seconds: float) -> str:
    return significant(milliseconds(seconds))

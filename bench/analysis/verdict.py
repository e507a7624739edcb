"""The verdict on a measurement: VALID, SUSPECT or INVALID, with the reasons.

Pure functions of records. A share is relative to the time in which blocks were timed. A
calibration kernel is compared with its time on the same machine in the quiet state.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bench.analysis.conditions import has_true_clock
from bench.analysis.disturbance import left_out, undisturbed
from bench.analysis.reasons import (
    LEVELS,
    Level,
    Observation,
    Reason,
    count,
    elapsed,
    factor,
    percent,
    seconds,
)
from bench.analysis.settings import alike, apart, setting_reasons
from bench.analysis.stillness import Usual, stalls, usual_of
from bench.analysis.unseen import slowdown
from bench.devices import driver_of
from bench.devices.sensors.throttles import THERMAL
from bench.records import Conditions, Environment, Measurement, Record

# A chip does not normally run with thermal throttling, so it is a doubt. A chip does normally reach
# its power cap under load, so the cap, and a lower clock under it, are reported but are no doubt.
POWER_CAP = "sw_power_cap"
# Seconds for which a Jetson lowers its clock after an over-current event. In the fastest mode of a
# small board, events are normal: one log shows 27,390 in an hour, which is 0.8 % of the time.
OVER_CURRENT_S = 1e-3

# Limits: a larger value than the first is SUSPECT, a larger value than the second INVALID.
OTHERS = (0.10, 0.40)  # share of the usable CPUs
STOLEN = (0.02, 0.20)
THROTTLED = (0.001, 0.05)
OVER_CURRENT = (0.05, 0.5)
CLOCK_FELL = (0.10, 0.40)
FOLLOWING_CLOCK_FELL = (0.10, 1.0)  # a clock that follows the load: never INVALID
COMPUTE_SLOWER = (1.35, 2.5)
MEMORY_SLOWER = (2.2, 5.0)
STOOD_STILL = 0.2  # of the timed seconds of a round: INVALID beyond, else SUSPECT
QUIET_SHARE = 0.1  # the quiet state is this quantile of the kernel times of all rounds
SHARE_OF_ROUNDS = 0.5  # a case is INVALID if at least this share of its rounds is
NO_REASON = "no reason given"


class Quiet(NamedTuple):
    """Seconds that the calibration kernels take on this machine in the quiet state."""

    compute_s: float
    memory_s: float


class Machine(NamedTuple):
    """What a verdict needs to know of the machine, besides the record.

    `quiet` is its quiet state, None if unknown. `usable_cpus` are the CPUs that each run could
    use, by `run_id`: affinity and quotas may change from run to run. A check is omitted where its
    value is unknown.
    """

    quiet: Quiet | None = None
    usable_cpus: Mapping[str, int] = MappingProxyType({})


def usable_cpus(records: Iterable[Record]) -> dict[str, int]:
    """The CPUs that each run could use, by `run_id`; without runs that did not record it."""
    return {
        record.run_id: record.chip.threads
        for record in records
        if isinstance(record, Environment) and record.chip.threads > 0
    }


class Verdict(NamedTuple):
    """The highest level of the reasons (VALID without reasons), and the reasons."""

    level: Level
    reasons: list[Reason]

    @property
    def text(self) -> str:
        """The verdict as text: `SUSPECT: other processes used 12 % of the CPUs`."""
        reasons = "; ".join(reason.text for reason in self.reasons)
        return f"{self.level}: {reasons}" if reasons else self.level


def quiet_of(records: Iterable[Measurement]) -> Quiet | None:
    """The quiet state: the 10 % quantile of the rounds' median kernel seconds.

    `records` must have the same environment, device and number of threads. Rounds with a false
    clock do not count, nor do disturbed rounds if there are others. None if no record has kernel
    times.
    """
    rounds = undisturbed([r for r in records if r.block_compute_s and has_true_clock(r.conditions)])
    medians = [
        Quiet(statistics.median(r.block_compute_s), statistics.median(r.block_memory_s))
        for r in rounds
    ]
    return quietest(medians) if medians else None


def quietest(kernels: Sequence[Quiet]) -> Quiet:
    """The quiet state: the 10 % quantile of the seconds of each kernel."""
    nth = int(QUIET_SHARE * (len(kernels) - 1))
    return Quiet(
        sorted(each.compute_s for each in kernels)[nth],
        sorted(each.memory_s for each in kernels)[nth],
    )


def judge(record: Measurement, machine: Machine, usual: Usual | None = None) -> Verdict:
    """The verdict on one round. `usual` is that of its case, where there are more rounds."""
    reasons = [
        *_of_conditions(record),
        *_of_neighbours(record),
        *_of_stalls(record, usual),
        *_of_kernels(record, machine.quiet),
        *_of_course(record, machine.usable_cpus.get(record.run_id)),
    ]
    return Verdict(max((r.level for r in reasons), key=LEVELS.index, default="VALID"), reasons)


def judge_case(rounds: Sequence[Measurement], machine: Machine) -> Verdict:
    """The verdict on a case.

    INVALID if at least half of the rounds are INVALID; else SUSPECT if any round is not VALID. Only
    rounds of equal settings count; if others are left out, the case is at least SUSPECT. Disturbed
    rounds that are left out are named, but raise no doubt. A single process is never VALID.
    """
    kept = alike(rounds)
    usual = usual_of(kept) if kept else None
    verdicts = [judge(record, machine, usual) for record in kept]
    level: Level = "SUSPECT" if any(each.level != "VALID" for each in verdicts) else "VALID"
    invalid = sum(verdict.level == "INVALID" for verdict in verdicts)
    if invalid and invalid >= SHARE_OF_ROUNDS * len(kept):
        level = "INVALID"
    of_case = [*_of_one_process(kept), *apart(rounds)]
    if of_case and level == "VALID":
        level = "SUSPECT"
    reasons = [*_of_rounds([verdict.reasons for verdict in verdicts]), *of_case]
    return Verdict(level, [*reasons, *_of_rounds(left_out(rounds))])


def _of_one_process(kept: Sequence[Measurement]) -> list[Reason]:
    return [Reason(Observation.ONE_PROCESS, "SUSPECT")] if len(kept) == 1 else []


def _of_rounds(found: Sequence[Sequence[Reason]]) -> list[Reason]:
    """The worst reason of each kind, with the number of rounds that have a reason of that kind."""
    alike: dict[tuple[object, ...], list[tuple[int, Reason]]] = {}
    for number, reasons in enumerate(found):
        for reason in reasons:
            alike.setdefault(reason.kind, []).append((number, reason))
    return [
        max((reason for _, reason in each), key=lambda one: LEVELS.index(one.level))._replace(
            in_rounds=len({number for number, _ in each}), of_rounds=len(found)
        )
        for each in alike.values()
    ]


def _of_conditions(record: Measurement) -> Iterator[Reason]:
    seen = record.conditions
    if seen is None:
        yield Reason(Observation.UNRECORDED, "SUSPECT")
        return
    yield from _unread(seen)
    cpus = max(seen.cpus or 1, 1)
    yield from _share(Observation.OTHERS, OTHERS, _others(seen, cpus))
    yield from _share(Observation.STOLEN, STOLEN, _per(seen.stolen_cpu_s, seen.wall_s * cpus))
    yield from _share(Observation.THROTTLED, THROTTLED, _per(seen.throttled_s, seen.wall_s))
    yield from _of_clock(seen, record.case.device)
    if seen.overheated:
        yield Reason(Observation.OVERHEATED, "SUSPECT", (count(seen.overheated),))
    if not has_true_clock(seen):
        clocks_s = (seconds(seen.counted_s or 0.0), seconds(seen.waited_s or 0.0))
        yield Reason(Observation.FALSE_CLOCK, "INVALID", clocks_s)
    yield from _of_chip(seen)
    yield from jump_reasons(seen)
    if len(seen.power_modes) > 1:
        yield Reason(Observation.MODE_CHANGED, "INVALID", (" to ".join(seen.power_modes),))
    if len(seen.clock_limits) > 1:
        yield Reason(Observation.LIMITS_CHANGED, "SUSPECT", (", then ".join(seen.clock_limits),))


def _of_clock(seen: Conditions, device: str) -> Iterator[Reason]:
    """A reason where the clock fell. A power cap explains the fall of a clock that follows load."""
    low, high = seen.lowest_clock_hz, seen.highest_clock_hz
    fell = 1 - low / high if low and high else None
    driver = driver_of(device)
    follows = driver is not None and driver.clock_follows_load
    limits = FOLLOWING_CLOCK_FELL if follows else CLOCK_FELL
    is_capped = follows and POWER_CAP in (seen.throttled_by or [])
    for reason in _share(Observation.CLOCK_FELL, limits, fell):
        yield reason._replace(level="VALID") if is_capped else reason


def _unread(seen: Conditions) -> Iterator[Reason]:
    """Reasons for counters that no sensor could read."""
    if seen.busy_cpu_s is None:
        why = seen.missing.get("busy_cpu_s", NO_REASON)
        yield Reason(Observation.OTHERS_UNREAD, "SUSPECT", (why,))
    if seen.stolen_cpu_s is None:
        why = seen.missing.get("stolen_cpu_s", NO_REASON)
        yield Reason(Observation.STOLEN_UNREAD, "SUSPECT", (why,))
    if "thread_s" in seen.missing:
        yield Reason(Observation.STILL_UNREAD, "VALID", (seen.missing["thread_s"],))


def _of_chip(seen: Conditions) -> Iterator[Reason]:
    """Reasons for throttling and for other processes on a GPU."""
    throttles = set(seen.throttled_by or [])
    if braked := sorted(throttles & THERMAL):
        yield Reason(Observation.BRAKED, "SUSPECT", (", ".join(braked),))
    lowered_s = None if seen.over_currents is None else seen.over_currents * OVER_CURRENT_S
    yield from _share(Observation.OVER_CURRENT, OVER_CURRENT, _per(lowered_s, seen.wall_s))
    if POWER_CAP in throttles:
        yield Reason(Observation.POWER_CAP, "VALID")
    if seen.foreign_processes:
        yield Reason(Observation.FOREIGN_PROCESSES, "SUSPECT", (count(seen.foreign_processes),))


def jump_reasons(seen: Conditions) -> Iterator[Reason]:
    """Reasons for blocks during which the machine was suspended or its time of day was set.

    Durations come from the monotonic clock, which cannot be set, so setting the time of day is
    only SUSPECT. A run stores these sentences in `Measurement.warnings`.
    """
    for each in seen.jumps:
        if each.suspended_s:
            slept = (elapsed(each.suspended_s), count(each.block))
            yield Reason(Observation.SUSPENDED, "INVALID", slept)
        if each.set_s:
            direction = Observation.SET_FORWARD if each.set_s > 0 else Observation.SET_BACK
            yield Reason(direction, "SUSPECT", (elapsed(abs(each.set_s)), count(each.block)))


def _of_neighbours(record: Measurement) -> Iterator[Reason]:
    """Reasons where the process of another network, or this one, computed out of turn."""
    for each in record.disturbed_by:
        values = (each.name, percent(each.share))
        yield Reason(Observation.DISTURBED, _beyond(OTHERS, each.share), values)
    if record.restless_share:
        yield Reason(Observation.RESTLESS, "SUSPECT", (percent(record.restless_share),))


def _of_stalls(record: Measurement, usual: Usual | None) -> Iterator[Reason]:
    """Reasons for blocks in which the process stood still."""
    found = list(stalls(record, usual))
    timed_s = sum(record.samples_s) * record.calls_per_sample
    is_long = sum(each.seconds for each in found) > STOOD_STILL * timed_s
    level: Level = "INVALID" if is_long else "SUSPECT"
    for each in found:
        values = (seconds(each.seconds), count(each.block))
        yield Reason(Observation.STOOD_STILL, level, values)


def _of_kernels(record: Measurement, quiet: Quiet | None) -> Iterator[Reason]:
    if quiet is None or not record.block_compute_s:
        if record.conditions is not None:
            yield Reason(Observation.NO_KERNEL, "SUSPECT")
        return
    compute = statistics.median(record.block_compute_s) / quiet.compute_s
    memory = statistics.median(record.block_memory_s) / quiet.memory_s
    yield from _slower(Observation.SLOW_COMPUTE, COMPUTE_SLOWER, compute)
    yield from _slower(Observation.SLOW_MEMORY, MEMORY_SLOWER, memory)


def _of_course(record: Measurement, usable_cpus: int | None) -> Iterator[Reason]:
    """Reasons for an unsteady warm-up, changed settings, and more threads than usable CPUs."""
    if record.steady is False:
        yield Reason(Observation.UNSTEADY, "SUSPECT")
    for name, values in record.changed.items():
        yield Reason(Observation.SETTING_CHANGED, "SUSPECT", (f"{name} {values}".rstrip(),))
    for name, values in record.unattributed.items():
        yield Reason(Observation.UNATTRIBUTED, "SUSPECT", (name, values))
    typical_s = statistics.median(record.samples_s)
    if ratio := slowdown(record.unseen_s, record.repeated_s, typical_s):
        yield Reason(Observation.UNSEEN_SLOWER, "SUSPECT", (factor(ratio),))
    yield from setting_reasons(record, usable_cpus)
    threads = record.case.threads
    if usable_cpus is not None and threads > usable_cpus:
        yield Reason(Observation.MORE_THREADS, "SUSPECT", (count(threads), count(usable_cpus)))


def _others(seen: Conditions, cpus: int) -> float | None:
    if seen.busy_cpu_s is None or seen.own_cpu_s is None:
        return None
    return _per(max(seen.busy_cpu_s - seen.own_cpu_s, 0.0), seen.wall_s * cpus)


def _per(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _share(
    observation: Observation, limits: tuple[float, float], share: float | None
) -> Iterator[Reason]:
    if share is not None and share > limits[0]:
        yield Reason(observation, _beyond(limits, share), (percent(share),))


def _slower(
    observation: Observation, limits: tuple[float, float], ratio: float
) -> Iterator[Reason]:
    if ratio > limits[0]:
        yield Reason(observation, _beyond(limits, ratio), (factor(ratio),))


def _beyond(limits: tuple[float, float], value: float) -> Level:
    return "INVALID" if value > limits[1] else "SUSPECT"

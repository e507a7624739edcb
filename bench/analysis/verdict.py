"""Whether a number may be believed: VALID, SUSPECT or INVALID, and why.

Pure functions of what is on record. Shares are of the time in which blocks were timed; a kernel
is compared with what it takes on this machine when nothing is in its way.
"""

from __future__ import annotations

import enum
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from bench.devices.nvml import THERMAL
from bench.records import Conditions, Measurement
from bench.text import duration

Level = Literal["VALID", "SUSPECT", "INVALID"]
LEVELS: tuple[Level, ...] = ("VALID", "SUSPECT", "INVALID")

# Heat, brakes and over-current are not how a chip usually computes; a power cap is, under such a
# load: it is said, and is no doubt.
BRAKES = THERMAL | {"over_current"}
GPUS = ("cuda", "orin")
POWER_CAP = "sw_power_cap"

# From where on a number is SUSPECT, and from where on INVALID.
OTHERS = (0.10, 0.40)  # share of the CPUs that we may use
STOLEN = (0.02, 0.20)
THROTTLED = (0.001, 0.05)
CLOCK_FELL = (0.10, 0.40)
GPU_CLOCK_FELL = (0.10, 1.0)  # it follows the load by itself, so never INVALID
COMPUTE_SLOWER = (1.35, 2.5)
MEMORY_SLOWER = (2.2, 5.0)
QUIET_SHARE = 0.1  # of the rounds on record are quieter than the quiet state
NUMBER = re.compile(r"[0-9.]+")  # reasons that differ in nothing else are one
SHARE_OF_ROUNDS = 0.5  # that must be INVALID for a case to be


class Doubt(enum.Enum):
    """What may spoil a number; the value is the remedy."""

    OTHERS = "Stop other programs while you measure; `bench doctor` names the busy ones."
    STOLEN = "Other guests of this host take its time: measure at another hour, or on your own."
    QUOTA = "Lift the CPU quota of the container, or measure with as many --threads as it has CPUs."
    CLOCK = (
        "Fix the clock (`sudo cpupower frequency-set -g performance`, of a GPU `nvidia-smi -lgc`, "
        "on a Jetson `sudo jetson_clocks`) and let the chip cool."
    )
    COMPUTE = "Something slowed all computing: a clock, a neighbour, heat. Measure again later."
    MEMORY = "Something else used the memory or the last cache. Measure again later."
    HEAT = "Let the chip cool, and see to its fan and supply, before you measure again."
    POWER = "This load draws all the power that the chip may take; `nvidia-smi -pl` sets the limit."
    FOREIGN = "Stop what else uses the GPU: `nvidia-smi` lists it."
    MODE = "Set the power mode once, before the run, and measure again."
    SENSOR = "Nobody looked: believe it as far as you know the machine was idle."
    WARM_UP = "The first samples may be slow; a longer warm-up has --preset paper."
    SUSPENDED = "Keep the machine awake (`systemd-inhibit python -m bench run ...`), measure again."
    SET = "Let the time service settle before you measure; what sets a clock may disturb more."
    THREADS = "Leave out --threads, or give at most as many as there are CPUs."


class Reason(NamedTuple):
    """One doubt about a measurement, how grave it is, and what was seen."""

    doubt: Doubt
    level: Level
    seen: str


class Quiet(NamedTuple):
    """Seconds that the calibration kernels take on this machine when nothing is in their way."""

    compute_s: float
    memory_s: float


class Verdict(NamedTuple):
    """The worst of the reasons, or VALID without any."""

    level: Level
    reasons: list[Reason]

    @property
    def text(self) -> str:
        """`SUSPECT: others used 12 % of the CPUs`."""
        seen = "; ".join(reason.seen for reason in self.reasons)
        return f"{self.level}: {seen}" if seen else self.level


def quiet_of(records: Iterable[Measurement]) -> Quiet | None:
    """The quiet state, from the rounds on record of one environment, device and thread count."""
    rounds = [r for r in records if r.block_compute_s]
    if not rounds:
        return None
    compute = sorted(statistics.median(r.block_compute_s) for r in rounds)
    memory = sorted(statistics.median(r.block_memory_s) for r in rounds)
    nth = int(QUIET_SHARE * (len(rounds) - 1))
    return Quiet(compute[nth], memory[nth])


def judge(record: Measurement, quiet: Quiet | None) -> Verdict:
    """What to think of one round."""
    return _verdict([*_of_conditions(record), *_of_kernels(record, quiet), *_of_course(record)])


def judge_case(rounds: Sequence[Measurement], quiet: Quiet | None) -> Verdict:
    """What to think of a case: SUSPECT where any round is not VALID, INVALID where half are not."""
    verdicts = [judge(record, quiet) for record in rounds]
    level: Level = "SUSPECT" if any(each.level != "VALID" for each in verdicts) else "VALID"
    invalid = sum(verdict.level == "INVALID" for verdict in verdicts)
    if invalid and invalid >= SHARE_OF_ROUNDS * len(rounds):
        level = "INVALID"
    worst: dict[tuple[Doubt, str], list[Reason]] = {}
    for reason in (reason for verdict in verdicts for reason in verdict.reasons):
        kind = NUMBER.sub("", reason.seen)
        worst.setdefault((reason.doubt, kind), []).append(reason)
    return Verdict(level, [_worst(reasons, len(rounds)) for reasons in worst.values()])


def _worst(reasons: Sequence[Reason], rounds: int) -> Reason:
    reason = max(reasons, key=lambda each: LEVELS.index(each.level))
    if rounds == 1:
        return reason
    return reason._replace(seen=f"{reason.seen} ({len(reasons)} of {rounds} rounds)")


def _verdict(reasons: list[Reason]) -> Verdict:
    return Verdict(max((r.level for r in reasons), key=LEVELS.index, default="VALID"), reasons)


def _of_conditions(record: Measurement) -> Iterator[Reason]:
    seen = record.conditions
    if seen is None:
        yield Reason(Doubt.SENSOR, "SUSPECT", "the state of the machine was not recorded")
        return
    for name in ("busy_cpu_s", "stolen_cpu_s"):
        if getattr(seen, name) is None:
            why = seen.missing.get(name, "no reason given")
            what = "what others did" if name == "busy_cpu_s" else "steal time"
            yield Reason(Doubt.SENSOR, "SUSPECT", f"{what} could not be read: {why}")
    cpus = max(seen.cpus or 1, 1)
    yield from _share(Doubt.OTHERS, OTHERS, _others(seen, cpus), "others used {} of the CPUs")
    stolen = _per(seen.stolen_cpu_s, seen.wall_s * cpus)
    yield from _share(Doubt.STOLEN, STOLEN, stolen, "the host gave {} of our CPU time to others")
    throttled = _per(seen.throttled_s, seen.wall_s)
    yield from _share(Doubt.QUOTA, THROTTLED, throttled, "a quota stopped us for {} of the time")
    low, high = seen.lowest_clock_hz, seen.highest_clock_hz
    fell = 1 - low / high if low and high else None
    limits = GPU_CLOCK_FELL if record.case.device in GPUS else CLOCK_FELL
    yield from _share(Doubt.CLOCK, limits, fell, "the clock fell by {}")
    if seen.overheated:
        yield Reason(Doubt.CLOCK, "SUSPECT", f"{seen.overheated} thermal events")
    yield from _of_chip(seen)
    yield from of_clocks(seen)
    if len(seen.power_modes) > 1:
        changed = " to ".join(seen.power_modes)
        yield Reason(Doubt.MODE, "INVALID", f"the power mode changed: {changed}")


def _of_chip(seen: Conditions) -> Iterator[Reason]:
    """What holds a GPU back, and who else is on it."""
    throttles = set(seen.throttled_by or [])
    if braked := sorted(throttles & BRAKES):
        yield Reason(Doubt.HEAT, "SUSPECT", f"the clock was held down: {', '.join(braked)}")
    if POWER_CAP in throttles:
        yield Reason(Doubt.POWER, "VALID", "the power limit held the clock down")
    if seen.foreign_processes:
        others = f"{seen.foreign_processes} other processes were on the GPU"
        yield Reason(Doubt.FOREIGN, "SUSPECT", others)


def of_clocks(seen: Conditions) -> Iterator[Reason]:
    """Blocks during which the machine was suspended, or its time of day was set.

    Durations come from a clock that nobody sets, so the latter only makes them suspect.
    """
    for each in seen.jumps:
        where = f"in block {each.block}"
        if each.suspended_s:
            slept = f"the machine was suspended for {duration(each.suspended_s)} {where}"
            yield Reason(Doubt.SUSPENDED, "INVALID", slept)
        if each.set_s:
            way = "forward" if each.set_s > 0 else "back"
            moved = f"the clock was set {way} by {duration(abs(each.set_s))} {where}"
            yield Reason(Doubt.SET, "SUSPECT", moved)


def _of_kernels(record: Measurement, quiet: Quiet | None) -> Iterator[Reason]:
    if quiet is None or not record.block_compute_s:
        if record.conditions is not None:
            yield Reason(Doubt.SENSOR, "SUSPECT", "no calibration kernel was run")
        return
    compute = statistics.median(record.block_compute_s) / quiet.compute_s
    memory = statistics.median(record.block_memory_s) / quiet.memory_s
    yield from _slower(Doubt.COMPUTE, COMPUTE_SLOWER, compute, "computing")
    yield from _slower(Doubt.MEMORY, MEMORY_SLOWER, memory, "copying memory")


def _of_course(record: Measurement) -> Iterator[Reason]:
    if record.steady is False:
        yield Reason(Doubt.WARM_UP, "SUSPECT", "calls were still getting faster after the warm-up")
    for warning in record.warnings:
        if "threads on" in warning:
            yield Reason(Doubt.THREADS, "SUSPECT", warning)


def _others(seen: Conditions, cpus: int) -> float | None:
    if seen.busy_cpu_s is None or seen.own_cpu_s is None:
        return None
    return _per(max(seen.busy_cpu_s - seen.own_cpu_s, 0.0), seen.wall_s * cpus)


def _per(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _share(
    doubt: Doubt, limits: tuple[float, float], share: float | None, text: str
) -> Iterator[Reason]:
    if share is not None and share > limits[0]:
        level: Level = "INVALID" if share > limits[1] else "SUSPECT"
        yield Reason(doubt, level, text.format(f"{100 * share:.2g} %"))


def _slower(
    doubt: Doubt, limits: tuple[float, float], factor: float, what: str
) -> Iterator[Reason]:
    if factor > limits[0]:
        level: Level = "INVALID" if factor > limits[1] else "SUSPECT"
        yield Reason(doubt, level, f"{what} took {factor:.1f} times as long as when it is quiet")

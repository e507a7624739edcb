"""The state of the machine in a round, from sensor readings before and after each block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec import structs

from bench.records import Conditions, Counters, Reading

T = TypeVar("T")

# The clocks of a child and of its parent may differ by this share and by these seconds.
CLOCK_SHARE = 0.2
CLOCK_S = 0.05
OF_CPUS = ("busy_cpu_s", "stolen_cpu_s")  # counters of the usable CPUs
CPUS_CHANGED = "the CPUs that the process may use changed during the round"
FELL = "the counter fell in a block"


def conditions_over(
    readings: Sequence[tuple[Reading, Reading]], *, idles: bool = False
) -> Conditions:
    """The conditions of a round from `readings`: one (before, after) pair per block.

    A counter is the sum of (after - before) over all pairs. It is None if any reading lacks it, if
    it decreased, or if it counts other CPUs than before. With `idles`, the chip idles before a
    block and lowers its clock, so only the clocks after a block count.
    """
    everything = [reading for pair in readings for reading in pair]
    working = [after for _, after in readings] if idles else everything
    clocks = known(reading.clock_hz for reading in working)
    modes = known(reading.power_mode for reading in everything)
    limits = known(reading.clock_limits for reading in everything)
    throttles = known(reading.throttles for reading in everything)
    counted = {
        name: _sum([(getattr(before, name), getattr(after, name)) for before, after in readings])
        for name in Counters.__struct_fields__
    }
    missing = {name: why for reading in everything for name, why in reading.missing.items()}
    for name, value in counted.items():
        if everything and value is None and None not in {getattr(r, name) for r in everything}:
            missing.setdefault(name, FELL)
    if len(set(known(reading.cpu_list for reading in everything))) > 1:
        counted |= dict.fromkeys(OF_CPUS)
        missing |= dict.fromkeys(OF_CPUS, CPUS_CHANGED)
    return Conditions(
        **counted,
        wall_s=sum(after.at_s - before.at_s for before, after in readings),
        cpus=min(known(reading.cpus for reading in everything), default=None),
        lowest_clock_hz=min(clocks, default=None),
        highest_clock_hz=max(clocks, default=None),
        highest_temperature_c=max(known(r.temperature_c for r in everything), default=None),
        highest_power_w=max(known(r.power_w for r in everything), default=None),
        throttled_by=sorted(set().union(*throttles)) if throttles else None,
        power_modes=list(dict.fromkeys(modes)),
        clock_limits=list(dict.fromkeys(limits)),
        idle_s=_idle_s(readings),
        missing=missing,
    )


def without_pauses(seen: Conditions, paused_s: Sequence[float]) -> Conditions:
    """The conditions without the idle seconds of each block in which it waited on purpose."""
    idle_s = [max(idle - paused, 0.0) for idle, paused in zip(seen.idle_s, paused_s, strict=False)]
    return structs.replace(seen, idle_s=idle_s)


def has_true_clock(seen: Conditions | None) -> bool:
    """Whether the clock that timed the blocks agrees with that of the parent, as far as known."""
    if seen is None or seen.counted_s is None or seen.waited_s is None:
        return True
    return abs(seen.counted_s - seen.waited_s) <= max(CLOCK_SHARE * seen.waited_s, CLOCK_S)


def _idle_s(readings: Sequence[tuple[Reading, Reading]]) -> list[float]:
    """The idle seconds of each block; empty if they are unknown for any block."""
    idle = known(_idle_in(before, after) for before, after in readings)
    return idle if len(idle) == len(readings) else []


def _idle_in(before: Reading, after: Reading) -> float | None:
    """Seconds of a block in which no thread computed or waited for a CPU; None if unknown.

    idle = wall - (the busiest thread) - stolen - throttled. Where waits are not counted, a thread
    could wait only while others used all CPUs, so idle -= (CPU time of others) / CPUs.
    """
    if not before.thread_s or not after.thread_s:
        return None
    busiest = max(s - before.thread_s.get(thread, 0.0) for thread, s in after.thread_s.items())
    idle = after.at_s - before.at_s - busiest
    idle -= _sum([(before.stolen_cpu_s, after.stolen_cpu_s)]) or 0.0
    idle -= _sum([(before.throttled_s, after.throttled_s)]) or 0.0
    if not after.counts_waits:
        busy = _sum([(before.busy_cpu_s, after.busy_cpu_s)])
        own = _sum([(before.own_cpu_s, after.own_cpu_s)])
        if busy is None or own is None:
            return None
        idle -= max(busy - own, 0.0) / max(after.cpus or 1, 1)
    return max(idle, 0.0)


def known(values: Iterable[T | None]) -> list[T]:
    """The values that are not None, in order."""
    return [value for value in values if value is not None]


def _sum(pairs: Sequence[tuple[float | None, float | None]]) -> Any:
    """Sum of (after - before); None if a value is missing or decreased. Integers stay integers."""
    total: float | None = None
    for before, after in pairs:
        if before is None or after is None or after < before:
            return None
        total = after - before if total is None else total + (after - before)
    return total

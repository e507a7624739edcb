"""From what a device senses before and after each block to the state of the machine in a round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from bench.records import Conditions, Counters, Reading

T = TypeVar("T")


def between(readings: Sequence[tuple[Reading, Reading]], *, idles: bool = False) -> Conditions:
    """Sum what changed from the first to the second of each pair, one pair a block.

    A counter that is missing once is missing in all; so is one that ran backwards. Of a chip that
    `idles` before a block, only clocks right after one count.
    """
    everything = [reading for pair in readings for reading in pair]
    working = [after for _, after in readings] if idles else everything
    clocks = known(reading.clock_hz for reading in working)
    modes = known(reading.power_mode for reading in everything)
    throttles = known(reading.throttles for reading in everything)
    counted = {
        name: _sum([(getattr(before, name), getattr(after, name)) for before, after in readings])
        for name in Counters.__struct_fields__
    }
    return Conditions(
        **counted,
        wall_s=sum(after.at_s - before.at_s for before, after in readings),
        cpus=readings[0][0].cpus if readings else None,
        lowest_clock_hz=min(clocks, default=None),
        highest_clock_hz=max(clocks, default=None),
        highest_temperature_c=max(known(r.temperature_c for r in everything), default=None),
        highest_power_w=max(known(r.power_w for r in everything), default=None),
        throttled_by=sorted(set().union(*throttles)) if throttles else None,
        power_modes=list(dict.fromkeys(modes)),
        missing={name: why for reading in everything for name, why in reading.missing.items()},
    )


def known(values: Iterable[T | None]) -> list[T]:
    """Those that are not None, in order."""
    return [value for value in values if value is not None]


def _sum(pairs: Sequence[tuple[float | None, float | None]]) -> Any:
    """What a counter grew by, whole numbers of a whole number."""
    total: float | None = None
    for before, after in pairs:
        if before is None or after is None or after < before:
            return None
        total = after - before if total is None else total + (after - before)
    return total

"""From what a device senses before and after each block to the state of the machine in a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bench.records import Conditions, Reading

Number = TypeVar("Number", int, float)


def between(readings: Sequence[tuple[Reading, Reading]]) -> Conditions:
    """Sum what changed from the first to the second of each pair, one pair a block.

    A counter that is missing once is missing in all; so is one that ran backwards.
    """
    everything = [reading for pair in readings for reading in pair]
    clocks = [reading.clock_hz for reading in everything if reading.clock_hz is not None]
    modes = [reading.power_mode for reading in everything if reading.power_mode is not None]

    def grown(name: str) -> list[tuple[Number | None, Number | None]]:
        return [(getattr(before, name), getattr(after, name)) for before, after in readings]

    return Conditions(
        wall_s=sum(after.at_s - before.at_s for before, after in readings),
        cpus=readings[0][0].cpus if readings else None,
        own_cpu_s=_sum(grown("own_cpu_s")),
        busy_cpu_s=_sum(grown("busy_cpu_s")),
        stolen_cpu_s=_sum(grown("stolen_cpu_s")),
        throttled_s=_sum(grown("throttled_s")),
        throttled_periods=_sum(grown("throttled_periods")),
        overheated=_sum(grown("overheated")),
        page_faults=_sum(grown("page_faults")),
        lowest_clock_hz=min(clocks, default=None),
        highest_clock_hz=max(clocks, default=None),
        power_modes=list(dict.fromkeys(modes)),
        missing={name: why for reading in everything for name, why in reading.missing.items()},
    )


def _sum(pairs: Sequence[tuple[Number | None, Number | None]]) -> Number | None:
    total: Number | None = None
    for before, after in pairs:
        if before is None or after is None or after < before:
            return None
        total = after - before if total is None else total + (after - before)
    return total

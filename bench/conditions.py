"""From what a device senses before and after each block to the state of the machine in a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records import Conditions, Counters, Reading


def between(readings: Sequence[tuple[Reading, Reading]]) -> Conditions:
    """Sum what changed from the first to the second of each pair, one pair a block.

    A counter that is missing once is missing in all; so is one that ran backwards.
    """
    everything = [reading for pair in readings for reading in pair]
    clocks = [reading.clock_hz for reading in everything if reading.clock_hz is not None]
    modes = [reading.power_mode for reading in everything if reading.power_mode is not None]
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
        power_modes=list(dict.fromkeys(modes)),
        missing={name: why for reading in everything for name, why in reading.missing.items()},
    )


def _sum(pairs: Sequence[tuple[float | None, float | None]]) -> Any:
    """What a counter grew by, whole numbers of a whole number."""
    total: float | None = None
    for before, after in pairs:
        if before is None or after is None or after < before:
            return None
        total = after - before if total is None else total + (after - before)
    return total

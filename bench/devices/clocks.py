"""One moment by several clocks: what they disagree on afterwards says what befell the machine."""

from __future__ import annotations

import time
from typing import NamedTuple

from bench.records import Jump

# Counts on while the machine is suspended, which `time.monotonic` does not; elsewhere the same.
_ALWAYS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
LEAST_JUMP_S = 1.0  # a busy machine may take a while from one clock to the next


class Moment(NamedTuple):
    """Seconds in which the machine was awake, seconds in all, and the time of day."""

    awake_s: float
    always_s: float
    day_s: float


def moment() -> Moment:
    """Now, by the clocks of this machine."""
    return Moment(time.monotonic(), time.clock_gettime(_ALWAYS), time.time())


def jump(block: int, before: Moment, after: Moment) -> Jump | None:
    """What happened to the clocks while the block of that number was timed; None if nothing."""
    awake_s, always_s, day_s = (b - a for a, b in zip(before, after, strict=True))
    suspended_s, set_s = always_s - awake_s, day_s - always_s
    if max(abs(suspended_s), abs(set_s)) < LEAST_JUMP_S:
        return None
    return Jump(
        block,
        suspended_s if suspended_s >= LEAST_JUMP_S else 0.0,
        set_s if abs(set_s) >= LEAST_JUMP_S else 0.0,
    )

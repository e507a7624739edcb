"""The clocks of this machine, which code of the user cannot replace.

Packages that freeze or speed up time for tests replace `time.perf_counter` and the like in every
module that holds them. So each clock here is held inside a partial function, where they do not
look, before any code of the user runs. Code that measures reads time here only.

`moment` reads three clocks at once, to detect that the machine was suspended or its time was set.

Between two readings, a = awake time, b = time since boot, and c = time of day. The machine was
suspended for b - a seconds, and its time of day was set by c - b seconds.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

from bench.records import Jump

# Seconds by the monotonic clock, which nobody can set.
monotonic: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)
# On Linux this clock also counts while the machine is suspended; `monotonic` does not.
_since_boot: Callable[[], float] = functools.partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)
_of_day: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_REALTIME)
MIN_JUMP_S = 1.0  # on a busy machine, time passes between the readings of two clocks


class Moment(NamedTuple):
    """Seconds awake, seconds including suspension, and the time of day in seconds."""

    awake_s: float
    always_s: float
    day_s: float


def moment() -> Moment:
    """Read the clocks of this machine."""
    return Moment(monotonic(), _since_boot(), _of_day())


def jump(block: int, before: Moment, after: Moment) -> Jump | None:
    """Return the suspension and the clock setting during a block; None if both are too short."""
    awake_s, always_s, day_s = (b - a for a, b in zip(before, after, strict=True))
    suspended_s, set_s = always_s - awake_s, day_s - always_s
    if max(abs(suspended_s), abs(set_s)) < MIN_JUMP_S:
        return None
    return Jump(
        block,
        suspended_s if suspended_s >= MIN_JUMP_S else 0.0,
        set_s if abs(set_s) >= MIN_JUMP_S else 0.0,
    )

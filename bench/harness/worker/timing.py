"""The timed loop: the only place where a sample is taken."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.harness.protocol.messages import Known
from bench.records import Operator, Stage, Stages

Clock = Callable[[], float]

FEWEST_WARM_UP_CALLS = 4  # two, and two to compare them with
LONGEST_WARM_UP = 3.0
SETTLED = 0.02


class ClockError(Exception):
    """The device's clock went backwards: what it tells is no duration."""


class Prepared(NamedTuple):
    """A network that is ready to be timed.

    `call` runs one inference. `inspect` takes the first output, returns what is known of the
    network, and raises where the output is wrong. `operators` runs the network once more and lists
    its operators in order; the list is empty where the backend does not run them one by one.
    """

    call: Callable[[], object]
    inspect: Callable[[object], Known]
    operators: Callable[[], Sequence[Operator]] = tuple


class StageClock:
    """Adds up the seconds of each stage, and announces each as it is entered.

    A stage may be entered again: the seconds add up.
    """

    def __init__(self, now: Clock, announce: Callable[[Stage], None]) -> None:
        self._now = now
        self._announce = announce
        self._seconds: dict[str, float] = {}
        self.current: Stage = "start"

    @contextlib.contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count what happens inside towards `name`."""
        self.enter(name)
        started = self._now()
        yield
        self.add(name, self._now() - started)

    def enter(self, name: Stage) -> None:
        """Announce that what happens from now on is part of `name`."""
        self.current = name
        self._announce(name)

    def add(self, name: Stage, seconds: float) -> None:
        """Count `seconds` towards `name`. Raises ClockError for less than none."""
        if seconds < 0:
            raise ClockError(f"{name} took {seconds:g} s by the clock of the device")
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @property
    def stages(self) -> Stages:
        """The seconds so far."""
        return Stages(**self._seconds)


def timed_call(call: Callable[[], object], now: Clock) -> float:
    """Seconds from the call to its synchronised end."""
    started = now()
    call()
    return now() - started


class WarmUp(NamedTuple):
    """Seconds of each discarded call, and whether they had settled."""

    durations_s: list[float]
    steady: bool


def warm_up(call: Callable[[], object], now: Clock, seconds: float) -> WarmUp:
    """Call until calls no longer get faster: for `seconds` at least, for three times that at most.

    Steady is where the median of the last calls, half of `seconds` and at least two, is no more
    than 2 % below the median of as many before them.
    """
    durations: list[float] = []
    while True:
        durations.append(timed_call(call, now))
        spent = sum(durations)
        if len(durations) < FEWEST_WARM_UP_CALLS or spent < seconds:
            continue
        if is_steady(durations, seconds / 2):
            return WarmUp(durations, steady=True)
        if spent >= LONGEST_WARM_UP * seconds and len(durations) >= 2 * FEWEST_WARM_UP_CALLS:
            return WarmUp(durations, steady=False)


def is_steady(durations: Sequence[float], window_s: float) -> bool:
    """Whether the calls of the last `window_s` seconds are as slow as those before them."""
    window = max(2, min(round(window_s / durations[-1]), len(durations) // 2))
    last, before = durations[-window:], durations[-2 * window : -window]
    return statistics.median(last) >= (1 - SETTLED) * statistics.median(before)


class Timed(NamedTuple):
    """When a block began (monotonic), and what each of its iterations took."""

    start_s: float
    samples_s: list[float]


def timed_block(call: Callable[[], object], now: Clock, iterations: int) -> Timed:
    """Time `iterations` calls one by one, each from the call to its synchronised end.

    Raises ClockError where one took less than no time.
    """
    samples = [0.0] * iterations
    with _no_garbage_collection():
        start = time.monotonic()
        for i in range(iterations):
            started = now()
            call()
            samples[i] = now() - started
    if min(samples) < 0:
        raise ClockError(f"an iteration took {min(samples):g} s by the clock of the device")
    return Timed(start, samples)


def pipelined_block(call: Callable[[], object], now: Clock, iterations: int) -> float:
    """Seconds of an iteration where `iterations` calls are queued and waited for only once."""
    with _no_garbage_collection():
        started = now()
        for _ in range(iterations):
            call()
        return (now() - started) / iterations


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Python's garbage collector waits outside."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

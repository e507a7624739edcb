"""The timed loop: the only place where a sample is taken."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.messages import Block, Known
from bench.records import Stage, Stages

Clock = Callable[[], float]


class Subject(NamedTuple):
    """What is timed: one inference, what is known of the network, and a look at an output.

    `inspect` raises where the output is no answer.
    """

    call: Callable[[], object]
    known: Known
    inspect: Callable[[object], None]


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
        self.current = name
        self._announce(name)
        started = self._now()
        yield
        self.add(name, self._now() - started)

    def add(self, name: Stage, seconds: float) -> None:
        """Count `seconds` towards `name`."""
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


def warm_up(call: Callable[[], object], now: Clock, seconds: float) -> list[float]:
    """Call until `seconds` have passed, at least twice; returns the seconds of each call."""
    durations: list[float] = []
    while len(durations) < 2 or sum(durations) < seconds:
        durations.append(timed_call(call, now))
    return durations


def timed_block(call: Callable[[], object], now: Clock, iterations: int) -> Block:
    """Time `iterations` calls one by one; Python's garbage collector waits outside."""
    samples = [0.0] * iterations
    gc.disable()
    try:
        start = time.monotonic()
        for i in range(iterations):
            started = now()
            call()
            samples[i] = now() - started
    finally:
        gc.enable()
    return Block(start, samples)

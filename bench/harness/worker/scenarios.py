"""Blocks of calls that come as a user's calls do: after a rest, at a fixed rate, in a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.devices import Session, clocks
from bench.harness.worker.timing import (
    Clock,
    Step,
    Timed,
    check_clock,
    in_groups,
    no_garbage_collection,
    timed_block,
)
from bench.records.scenario import PACE, REST, Scenario

Call = Callable[[], object]
SPIN_S = 0.0005
PREPROCESSING, COPY_IN, NETWORK, COPY_OUT = "preprocessing", "copy in", "network", "copy out"
SIMULATED_S = {PREPROCESSING: 0.002, COPY_IN: 0.0002, COPY_OUT: 0.0001}


class SimulatedPipeline:
    """The pipeline of a simulated network: `rest` lets the time of the other steps pass."""

    def __init__(self, call: Call, rest: Callable[[float], object]) -> None:
        self.steps = [
            Step(PREPROCESSING, lambda: rest(SIMULATED_S[PREPROCESSING])),
            Step(COPY_IN, lambda: rest(SIMULATED_S[COPY_IN])),
            Step(NETWORK, call),
            Step(COPY_OUT, lambda: rest(SIMULATED_S[COPY_OUT])),
        ]

    def close(self) -> None:
        """Do nothing: a simulated network has no images."""


def run_all(steps: Sequence[Step]) -> Call:
    """Return a function that runs the steps one after another."""

    def run() -> None:
        for step in steps:
            step.run()

    return run


def block_of(
    scenario: Scenario, call: Call, session: Session, steps: Sequence[Step]
) -> Callable[[int, int], Timed]:
    """Return the function that times a block of (samples, calls in a sample) in `scenario`.

    `steps` are those of the pipeline, () in other scenarios.
    """
    script = session.script
    if steps:
        return lambda iterations, _: pipeline_block(steps, session.now, iterations)
    if scenario.kind == REST:
        rest = script.rest if script else time.sleep
        return lambda iterations, _: rested_block(
            call, session.now, iterations, rest, scenario.amount
        )
    if scenario.kind == PACE:
        wait = script.rest if script else sleep_exactly
        return lambda iterations, _: paced_block(
            call, session.now, iterations, wait, 1 / scenario.amount
        )
    return lambda iterations, group: timed_block(in_groups(call, group), session.now, iterations)


def rested_block(
    call: Call, now: Clock, iterations: int, rest: Callable[[float], object], rest_s: float
) -> Timed:
    """Time `iterations` calls, each after `rest_s` seconds in which this process does nothing."""
    samples, output, start = list[float](), None, clocks.monotonic()
    with no_garbage_collection():
        for _ in range(iterations):
            output = None
            rest(rest_s)
            started = now()
            output = call()
            samples.append(now() - started)
    check_clock(samples)
    return Timed(start, samples, output, paused_s=rest_s * iterations)


def paced_block(
    call: Call, now: Clock, iterations: int, rest: Callable[[float], object], period_s: float
) -> Timed:
    """Time `iterations` calls on images that come every `period_s` seconds.

    A sample is the time from the moment at which its image is due to its answer, as in MLPerf's
    scenario ConstantStream. An image that comes while the network is busy waits for it; where a
    newer one comes meanwhile, it takes its place, and the older one is dropped. An answer is late
    if it comes after the next image is due.
    """
    samples, output, start = list[float](), None, clocks.monotonic()
    paused_s, dropped = 0.0, 0
    with no_garbage_collection():
        began, place = now() + period_s, 0
        for _ in range(iterations):
            output = None
            missed = int((now() - began) / period_s) - place  # newer images that are there already
            if missed > 0:
                dropped += missed
                place += missed
            due = began + place * period_s
            if (early_s := due - now()) > 0:
                rest(early_s)
                paused_s += early_s
            output = call()
            samples.append(now() - due)
            place += 1
        # Of the images that are there at the end, the newest would be next
        dropped += max(int((now() - began) / period_s) - place, 0)
    check_clock(samples)
    late = sum(each > period_s for each in samples)
    return Timed(start, samples, output, paused_s, late=late, dropped=dropped)


def pipeline_block(steps: Sequence[Step], now: Clock, iterations: int) -> Timed:
    """Time `iterations` calls of all steps, and each step of each call."""
    parts: dict[str, list[float]] = {step.name: [] for step in steps}
    samples, start = list[float](), clocks.monotonic()
    with no_garbage_collection():
        for _ in range(iterations):
            began = before = now()
            for step in steps:
                step.run()
                after = now()
                parts[step.name].append(after - before)
                before = after
            samples.append(before - began)
    check_clock([*samples, *(each for part in parts.values() for each in part)])
    return Timed(start, samples, parts_s=parts)


def sleep_exactly(seconds: float) -> None:
    """Sleep, but wait actively for the last SPIN_S: a sleep ends late."""
    until = clocks.monotonic() + seconds
    if seconds > SPIN_S:
        time.sleep(seconds - SPIN_S)
    while clocks.monotonic() < until:
        pass

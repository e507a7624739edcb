"""Times blocks for the parent, with calibration, sensor readings and discarded calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from bench.devices import Session, clocks
from bench.devices.kernels import Calibration, Kernels, calibrate
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.messages import Block, Job, RunBlock, Wait
from bench.harness.worker.timing import (
    StageClock,
    Timed,
    in_groups,
    pipelined_block,
    timed_call,
)
from bench.records import Case, Jump, Level, Reading
from bench.records.scenario import SUSTAINED, TIGHT

Call = Callable[[], object]
REST_S = 0.1  # between two looks whether the machine is quiet


class ServedBlocks(NamedTuple):
    """The number of discarded calls, sensor readings (before, after) per block, and clock jumps.

    `paused_s` has for each block the seconds in which it waited on purpose. `output` is the output
    of the last timed call, `typical_s` the median of the blocks' medians.
    """

    discarded: int
    readings: list[tuple[Reading, Reading]]
    jumps: list[Jump]
    output: object
    typical_s: float
    paused_s: list[float]


def serve_blocks(
    channel: Channel,
    job: Job,
    session: Session,
    clock: StageClock,
    kernels: Kernels,
    call: Call,
    timed: Callable[[int, int], Timed],
) -> ServedBlocks:
    """Time one block per RunBlock request; return after the first other request.

    `timed` times a block of (samples, calls in a sample); `call` is one call, to be discarded.

    For each block, in order: run the calibration kernels; wait for a quiet machine if the parent
    asks for it; discard calls; read the sensors; time
    the block; read the sensors again. Where the device has a queue, time further blocks by the
    device's own clock. All this together is timed, too: the parent compares it with its own clock,
    unless the clock is scripted. Raises ClockError where the clock goes backwards.
    """
    discarded = 0
    readings: list[tuple[Reading, Reading]] = []
    jumps: list[Jump] = []
    moment = clocks.moment if session.script is None else session.script.moment
    output: object = None
    medians: list[float] = []
    paused_s: list[float] = []
    while isinstance(request := channel.receive_request(), RunBlock):
        output = None  # frees its memory before the block
        asked_s = session.now()
        with clock.stage("calibrate"):
            calibration, rested_s = calibrate_when_quiet(kernels, session, request.wait)
        clock.enter("timed")  # announced before the discarded calls, which may hang
        for _ in range(request.discard):
            clock.add("warmup", timed_call(call, session.now))
        discarded += request.discard
        before, began = session.sense(), moment()
        group = request.calls_per_sample
        block = timed(request.iterations, group)
        ended, after = moment(), session.sense()
        output = block.output
        readings.append((before, after))
        if jump := clocks.jump(len(readings), began, ended):
            jumps.append(jump)
        clock.add("timed", sum(block.samples_s))
        samples_s = [each / group for each in block.samples_s]
        medians.append(statistics.median(samples_s))
        paused_s.append(block.paused_s)
        queued = _queued_blocks(session, clock, call, request, job.case)
        counted_s = session.now() - asked_s if session.script is None else None
        if session.script is not None:
            session.script.pause(job.plan.pace_s)
        found = (dict(block.parts_s), block.late, block.dropped, _level(job, session, after))
        timed_s = (block.start_s, samples_s, *calibration, *queued, counted_s, rested_s)
        channel.send(Block(*timed_s, *found))
        del block
    typical_s = statistics.median(medians) if medians else 0.0
    return ServedBlocks(discarded, readings, jumps, output, typical_s, paused_s)


def _level(job: Job, session: Session, read: Reading) -> Level | None:
    """Return what the chip read at the end of a block of a sustained round; else None."""
    if job.case.when.kind != SUSTAINED:
        return None
    sensor = session.sensor()
    energy_j = sensor.energy_j() if sensor else None
    return Level(read.clock_hz, read.temperature_c, read.power_w, energy_j)


def calibrate_when_quiet(
    kernels: Kernels, session: Session, wait: Wait | None
) -> tuple[Calibration, float]:
    """Time the kernels, again and again until the machine is quiet or the wait is over.

    Returns the last times, and the seconds from the first times to the last.
    """
    found, began_s = calibrate(kernels, session.now), session.now()
    rested_s = 0.0
    while wait and rested_s < wait.most_s and not _is_quiet(found, wait):
        rest = time.sleep if session.script is None else session.script.rest
        rest(min(REST_S, wait.most_s - rested_s))
        found = calibrate(kernels, session.now)
        rested_s = session.now() - began_s
    return found, rested_s


def _is_quiet(found: Calibration, wait: Wait) -> bool:
    return found.compute_s <= wait.compute_s and found.memory_s <= wait.memory_s


def _queued_blocks(
    session: Session, clock: StageClock, call: Call, asked: RunBlock, case: Case
) -> tuple[list[float], float | None]:
    """Time blocks that only a tight loop on a device with a queue has; otherwise return ([], None).

    Returns the seconds of a call in each of as many samples by the device's clock, and above
    batch 1 the seconds of one call in a pipelined block of as many calls.
    """
    if not session.has_queue or case.scenario != TIGHT:
        return [], None
    group = asked.calls_per_sample
    grouped, pipelined_s = in_groups(call, group), None
    with clock.stage("events"):
        times = session.device_times(grouped, asked.iterations)
        if case.batch > 1:
            pipelined_s = pipelined_block(grouped, session.now, asked.iterations) / group
    clock.enter("timed")
    return [each / group for each in times], pipelined_s

"""The blocks that a child times for its parent, with everything that surrounds each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.devices import Session, clocks
from bench.devices.kernels import Kernels, calibrate
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.messages import Block, Job, RunBlock
from bench.harness.worker.timing import StageClock, pipelined_block, timed_block, timed_call
from bench.records import Jump, Reading

Call = Callable[[], object]


class Served(NamedTuple):
    """Discarded calls; sensor readings before and after each block; jumps of the clocks."""

    discarded: int
    readings: list[tuple[Reading, Reading]]
    jumps: list[Jump]


def serve_blocks(
    channel: Channel, job: Job, session: Session, clock: StageClock, kernels: Kernels, call: Call
) -> Served:
    """Time a block whenever the parent asks for one, until it asks for something else.

    Around each block: the calibration kernels, discarded calls, a reading of the sensors; the
    block; another reading; then blocks by the device's own clock, where it has a queue.
    """
    discarded = 0
    readings: list[tuple[Reading, Reading]] = []
    jumps: list[Jump] = []
    moment = clocks.moment if session.script is None else session.script.moment
    while isinstance(request := channel.receive_request(), RunBlock):
        with clock.stage("calibrate"):
            calibration = calibrate(kernels, session.now)
        clock.enter("timed")  # the parent hears it before the discarded calls are over
        for _ in range(request.discard):
            clock.add("warmup", timed_call(call, session.now))
        discarded += request.discard
        before, began = session.sense(), moment()
        block = timed_block(call, session.now, request.iterations)
        ended, after = moment(), session.sense()
        readings.append((before, after))
        if jump := clocks.jump(len(readings), began, ended):
            jumps.append(jump)
        clock.add("timed", sum(block.samples_s))
        queued = _queued_blocks(session, clock, call, request.iterations, job.case.batch)
        if session.script is not None:
            session.script.pause(job.plan.pace_s)
        channel.send(Block(block.start_s, block.samples_s, *calibration, *queued))
    return Served(discarded, readings, jumps)


def _queued_blocks(
    session: Session, clock: StageClock, call: Call, iterations: int, batch: int
) -> tuple[list[float], float | None]:
    """Where calls are queued: seconds of each by the device's clock, and the pipelined seconds of
    one, of batches only. Each comes from a block of its own with as many iterations."""
    if not session.has_queue:
        return [], None
    with clock.stage("events"):
        times = session.device_times(call, iterations)
        pipelined_s = pipelined_block(call, session.now, iterations) if batch > 1 else None
    clock.enter("timed")
    return times, pipelined_s

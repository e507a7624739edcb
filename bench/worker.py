"""The child that measures one case in one round: prepare, warm up, time blocks when told to."""

from __future__ import annotations

import gc
import statistics
import time
from typing import NamedTuple

from msgspec import structs

from bench.conditions import between
from bench.devices import Device
from bench.devices.fake import Fake, check_scripted, fault_of, suffer
from bench.devices.kernels import Kernels, calibrate
from bench.measure import StageClock, Subject, WarmUp, timed_block, timed_call, warm_up
from bench.messages import (
    Block,
    Broken,
    Channel,
    ChannelClosedError,
    Entered,
    Finished,
    Job,
    Known,
    Ready,
    RunBlock,
)
from bench.plan import is_slow
from bench.records import Check, Cost, Reading


def work(channel: Channel, job: Job, device: Device) -> None:
    """Measure `job.case` on `device`, answering the parent until it says Finish or is gone."""
    clock = StageClock(device.now, lambda stage: channel.send(Entered(stage)))
    try:
        with device.session(job.case):
            _work(channel, job, device, clock)
    except ChannelClosedError:
        return
    except Exception as error:  # whatever a network raises is a Failure of its case
        channel.send(Broken(clock.current, type(error).__name__, str(error)))


def _work(channel: Channel, job: Job, device: Device, clock: StageClock) -> None:
    kernels = device.kernels()
    if isinstance(device, Fake):
        subject = _simulate(job, device, clock)
    else:
        from bench.prepare import prepare

        subject = prepare(job, device, clock)
    gc.collect()
    gc.freeze()  # what stays until the end need not be looked at between blocks
    device.reset_peak_memory()
    with clock.stage("first"):
        started = device.now()
        output = subject.call()
        first_s = device.now() - started
    with clock.stage("check"):
        subject.inspect(output)
        del output
    warmed = WarmUp([], steady=True)
    judged = not is_slow(job.plan, job.case.batch, first_s)
    if judged:
        with clock.stage("warmup"):
            warmed = warm_up(subject.call, device.now, job.plan.warmup_s)
    calibrate(kernels, device.now)  # their own warm-up
    clock.current = "timed"
    channel.send(Entered("timed"))
    iteration_s = statistics.median(warmed.durations_s[-5:] or [first_s])
    channel.send(Ready(iteration_s, device.peak_memory_bytes()))
    served = _serve_blocks(channel, job, device, clock, subject, kernels)
    peak = device.peak_memory_bytes()
    known = structs.replace(
        subject.known, cost=structs.replace(subject.known.cost, peak_memory_bytes=peak)
    )
    discarded = 1 + len(warmed.durations_s) + served.discarded
    conditions = between(served.readings)
    steady = warmed.steady if judged else None
    channel.send(Finished(clock.stages, known, discarded, conditions, steady))


class _Served(NamedTuple):
    """What became of the blocks that the parent asked for."""

    discarded: int
    readings: list[tuple[Reading, Reading]]


def _serve_blocks(
    channel: Channel,
    job: Job,
    device: Device,
    clock: StageClock,
    subject: Subject,
    kernels: Kernels,
) -> _Served:
    """Time a block whenever the parent asks, with the kernels before it."""
    discarded = 0
    readings: list[tuple[Reading, Reading]] = []
    while isinstance(request := channel.receive_request(), RunBlock):
        began = device.now()
        calibration = calibrate(kernels, device.now)
        clock.add("calibrate", device.now() - began)
        for _ in range(request.discard):
            clock.add("warmup", timed_call(subject.call, device.now))
        discarded += request.discard
        before = device.sense()
        block = timed_block(subject.call, device.now, request.iterations)
        readings.append((before, device.sense()))
        clock.add("timed", sum(block.samples_s))
        if isinstance(device, Fake):
            time.sleep(job.plan.pace_s)
        channel.send(Block(block.start_s, block.samples_s, *calibration))
    return _Served(discarded, readings)


def _simulate(job: Job, device: Fake, clock: StageClock) -> Subject:
    """What stands for a network on the fake device, or a fault of the kind that its name says."""
    fault = fault_of(job.case.model)
    with clock.stage("build"):
        suffer(fault)
        call = device.simulate(job.case, job.round)
    known = Known(Check(), Cost(), job.case.case_id)
    return Subject(call, known, lambda _: check_scripted(fault))

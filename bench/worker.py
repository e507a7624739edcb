"""The child that measures one case in one round: prepare, warm up, time blocks when told to."""

from __future__ import annotations

import gc
import statistics
import time

from msgspec import structs

from bench.devices import Device
from bench.devices.fake import FAULT_PREFIX, Fake, check_scripted, suffer
from bench.measure import StageClock, Subject, timed_block, timed_call, warm_up
from bench.messages import (
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
from bench.records import Check, Cost


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
    warmed: list[float] = []
    if not is_slow(job.plan, job.case.batch, first_s):
        with clock.stage("warmup"):
            warmed = warm_up(subject.call, device.now, job.plan.warmup_s)
    clock.current = "timed"
    channel.send(Entered("timed"))
    channel.send(Ready(statistics.median(warmed[-5:] or [first_s])))
    discarded = 1 + len(warmed) + _serve_blocks(channel, job, device, clock, subject)
    peak = device.peak_memory_bytes()
    known = structs.replace(
        subject.known, cost=structs.replace(subject.known.cost, peak_memory_bytes=peak)
    )
    channel.send(Finished(clock.stages, known, discarded))


def _serve_blocks(
    channel: Channel, job: Job, device: Device, clock: StageClock, subject: Subject
) -> int:
    """Time a block whenever the parent asks; returns how many calls were discarded."""
    discarded = 0
    while isinstance(request := channel.receive_request(), RunBlock):
        for _ in range(request.discard):
            clock.add("warmup", timed_call(subject.call, device.now))
        discarded += request.discard
        block = timed_block(subject.call, device.now, request.iterations)
        clock.add("timed", sum(block.samples_s))
        if isinstance(device, Fake):
            time.sleep(job.plan.pace_s)
        channel.send(block)
    return discarded


def _simulate(job: Job, device: Fake, clock: StageClock) -> Subject:
    """What stands for a network on the fake device, or a fault of the kind that its name says."""
    model = job.case.model
    fault = model.removeprefix(FAULT_PREFIX) if model.startswith(FAULT_PREFIX) else ""
    with clock.stage("build"):
        suffer(fault)
        call = device.simulate(job.case, job.round)
    known = Known(Check(), Cost(), job.case.case_id)
    return Subject(call, known, lambda _: check_scripted(fault))

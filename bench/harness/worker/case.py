"""The child that measures one case in one round: prepare, warm up, time blocks when told to."""

from __future__ import annotations

import contextlib
import gc
import re
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from msgspec import structs

from bench.analysis.conditions import between
from bench.backends import compiled
from bench.devices import Device, clocks
from bench.devices.fake import Fake
from bench.devices.kernels import Kernels, calibrate
from bench.devices.sensor import Memory
from bench.harness.plan import ProfilePlan, is_slow
from bench.harness.protocol.channel import Channel, ChannelClosedError
from bench.harness.protocol.messages import (
    Block,
    Broken,
    Entered,
    Finished,
    Job,
    Known,
    Observe,
    Observed,
    Profiled,
    Ready,
    RunBlock,
)
from bench.harness.worker.telemetry import observe
from bench.harness.worker.timing import (
    StageClock,
    Subject,
    WarmUp,
    pipelined_block,
    timed_block,
    timed_call,
    warm_up,
)
from bench.records import OUT_OF_MEMORY, Check, Cost, Jump, Reading, Stage

# torch.OutOfMemoryError on CUDA; a RuntimeError of the CPU's allocator, of cuDNN or of cuBLAS.
SHORT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|not enough memory|bad_alloc|_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation|cublasCreate|NvMapMemAlloc|NVML_SUCCESS == r INTERNAL ASSERT"
)


LONGEST_MESSAGE = 2000  # letters
LONGEST_NAME = 80


def work(channel: Channel, job: Job, device: Device) -> None:
    """Measure `job.case` on `device`, answering the parent until it says Finish or is gone."""

    def announce(stage: Stage) -> None:
        channel.send(Entered(stage))
        if isinstance(device, Fake):
            device.suffer(stage)

    clock = StageClock(device.now, announce)
    began = time.perf_counter()
    try:
        if job.case.backend == "compile" and not isinstance(device, Fake):
            compiled.preload()
        with device.session(job.case):
            kernels = device.kernels()
            clock.add("start", time.perf_counter() - began)
            _work(channel, job, device, clock, kernels)
    except ChannelClosedError:
        return
    except BaseException as error:  # whatever a network raises is a Failure, `sys.exit` too
        with contextlib.suppress(ChannelClosedError):
            channel.send(Broken(clock.current, _kind(error), _message(error)))


def _message(error: BaseException) -> str:
    """What an error says, as far as it can be told: it may be of a class of the user's."""
    try:
        return str(error)[:LONGEST_MESSAGE].encode(errors="replace").decode()
    except Exception as another:
        return f"the message of the error raised {type(another).__name__}"


def _kind(error: BaseException) -> str:
    """The type of an error; one name for the many ways of torch to say that memory is short."""
    if isinstance(error, MemoryError) or SHORT_OF_MEMORY.search(f"{type(error)} {_message(error)}"):
        return OUT_OF_MEMORY
    return type(error).__name__[:LONGEST_NAME]


def _work(channel: Channel, job: Job, device: Device, clock: StageClock, kernels: Kernels) -> None:
    if job.profile is not None and job.case.backend == "compile":
        compiled.name_kernels()
    if isinstance(device, Fake):
        subject = _simulate(job, device, clock)
    else:
        from bench.harness.worker.prepare import prepare

        subject = prepare(job, device, clock)
    gc.collect()
    gc.freeze()  # what stays until the end need not be looked at between blocks
    device.reset_peak_memory()
    with clock.stage("first"):
        started = device.now()
        output = subject.call()
        first_s = device.now() - started
    with clock.stage("check"):
        known = subject.inspect(output)
        del output
    warmed = WarmUp([], steady=True)
    judged = not is_slow(job.plan, job.case.batch, first_s)
    if judged:
        with clock.stage("warmup"):
            warmed = warm_up(subject.call, device.now, job.plan.warmup_s)
    memory = device.memory()
    calibrate(kernels, device.now)  # their own warm-up
    if job.profile is not None:
        channel.send(_profile(job, job.profile, device, clock, subject))
        return
    clock.current = "timed"
    channel.send(Entered("timed"))
    iteration_s = statistics.median(warmed.durations_s[-5:] or [first_s])
    channel.send(Ready(iteration_s, memory.largest))
    served = _serve_blocks(channel, job, device, clock, subject.call, kernels)
    channel.send(
        Finished(
            stages=clock.stages,
            known=structs.replace(known, cost=_with_memory(known.cost, memory)),
            discarded=1 + len(warmed.durations_s) + served.discarded,
            conditions=structs.replace(
                between(served.readings, idles=device.torch_device == "cuda"), jumps=served.jumps
            ),
            steady=warmed.steady if judged else None,
            settings=device.settings(),
        )
    )
    _observe(channel, device, clock, subject.call)


def _observe(
    channel: Channel, device: Device, clock: StageClock, call: Callable[[], object]
) -> None:
    """Once everything is told: observe the chip if the parent asks for it, else just end."""
    while isinstance(request := channel.receive_request(), Observe):
        began = device.now()
        telemetry = None
        with clock.stage("observe"):
            if sensor := device.sensor():
                telemetry = observe(call, device.now, sensor, request.seconds)
        channel.send(Observed(telemetry, device.now() - began))


def _profile(
    job: Job, plan: ProfilePlan, device: Device, clock: StageClock, subject: Subject
) -> Profiled:
    """The pass of its own that says where the time goes."""
    from bench.harness.worker.profile import profiled

    with clock.stage("profile"):
        return profiled(job, plan, device, subject)


def _with_memory(cost: Cost, memory: Memory) -> Cost:
    return structs.replace(
        cost,
        peak_memory_bytes=memory.peak,
        peak_reserved_bytes=memory.reserved,
        process_bytes=memory.process,
    )


class _Served(NamedTuple):
    """What became of the blocks that the parent asked for."""

    discarded: int
    readings: list[tuple[Reading, Reading]]
    jumps: list[Jump]


def _serve_blocks(
    channel: Channel,
    job: Job,
    device: Device,
    clock: StageClock,
    call: Callable[[], object],
    kernels: Kernels,
) -> _Served:
    """Time a block whenever the parent asks, with the kernels before it."""
    discarded = 0
    readings: list[tuple[Reading, Reading]] = []
    jumps: list[Jump] = []
    moment = device.moment if isinstance(device, Fake) else clocks.moment
    while isinstance(request := channel.receive_request(), RunBlock):
        with clock.stage("calibrate"):
            calibration = calibrate(kernels, device.now)
        clock.enter("timed")  # the parent has heard it by the end of the discarded call
        for _ in range(request.discard):
            clock.add("warmup", timed_call(call, device.now))
        discarded += request.discard
        before, began = device.sense(), moment()
        block = timed_block(call, device.now, request.iterations)
        ended, after = moment(), device.sense()
        readings.append((before, after))
        if jump := clocks.jump(len(readings), began, ended):
            jumps.append(jump)
        clock.add("timed", sum(block.samples_s))
        beside = _beside(device, clock, call, request.iterations, job.case.batch)
        if isinstance(device, Fake):
            time.sleep(job.plan.pace_s)
        channel.send(Block(block.start_s, block.samples_s, *calibration, *beside))
    return _Served(discarded, readings, jumps)


def _beside(
    device: Device, clock: StageClock, call: Callable[[], object], iterations: int, batch: int
) -> tuple[list[float], float | None]:
    """Where calls are queued: as many by the device's clock, and of batches as many unwaited."""
    if not device.has_queue:
        return [], None
    with clock.stage("events"):
        times = device.device_times(call, iterations)
        pipelined_s = pipelined_block(call, device.now, iterations) if batch > 1 else None
    clock.enter("timed")
    return times, pipelined_s


def _simulate(job: Job, device: Fake, clock: StageClock) -> Subject:
    """What stands for a network on the fake device."""
    with clock.stage("build"):
        call = device.simulate(job.case, job.round)
    for stage in ("fuse", "load"):
        with clock.stage(stage):
            """There is nothing to do."""

    def inspect(_: object) -> Known:
        device.check()
        return Known(Check(), Cost(), job.case.case_id)

    return Subject(call, inspect)

"""The child's work: prepare one case, warm it up, time blocks when the parent asks, report."""

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
from bench.backends import BACKENDS
from bench.devices import Driver, Session
from bench.devices.driver import Script
from bench.devices.kernels import Kernels, calibrate
from bench.devices.sensors.sensor import Memory
from bench.harness.plan import is_slow
from bench.harness.protocol.channel import Channel, ChannelClosedError
from bench.harness.protocol.messages import (
    Entered,
    Finished,
    Job,
    Known,
    Observe,
    Observed,
    Profiled,
    Raised,
    Ready,
)
from bench.harness.worker.blocks import serve_blocks
from bench.harness.worker.telemetry import observe
from bench.harness.worker.timing import Prepared, StageClock, WarmUp, warm_up
from bench.records import OUT_OF_MEMORY, Check, Cost, Stage

# torch.OutOfMemoryError on CUDA has a type of its own. The CPU's allocator, cuDNN and cuBLAS raise
# a RuntimeError, which only its words tell from any other.
SHORT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|not enough memory|bad_alloc|_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation|cublasCreate|NvMapMemAlloc|NVML_SUCCESS == r INTERNAL ASSERT"
)
LONGEST_MESSAGE = 2000  # letters
LONGEST_NAME = 80
LAST_CALLS = 5  # of the warm-up, whose median says how long an iteration takes


def work(channel: Channel, job: Job, driver: Driver) -> None:
    """Measure `job.case`; answer the parent until it has finished with the case, or is gone."""
    clock: StageClock | None = None
    began = time.perf_counter()
    try:
        if driver.runs_torch:
            BACKENDS[job.case.backend].preload()
        with driver.session(job.case) as session:
            clock = StageClock(session.now, _announcer(channel, session))
            kernels = session.kernels()
            clock.add("start", time.perf_counter() - began)
            _Work(channel, job, session, clock, kernels).run()
    except ChannelClosedError:
        return
    except BaseException as error:  # whatever a network raises is a Failure, `sys.exit` too
        stage: Stage = clock.current if clock else "start"
        with contextlib.suppress(ChannelClosedError):
            channel.send(Raised(stage, _kind(error), _message(error)))


class _Work(NamedTuple):
    """One case in one process."""

    channel: Channel
    job: Job
    session: Session
    clock: StageClock
    kernels: Kernels

    def run(self) -> None:
        """Prepare, call once and check, warm up; then profile, or time blocks and report."""
        prepared = self._prepare()
        first_s, known = self._first_call(prepared)
        judged = not is_slow(self.job.plan, self.job.case.batch, first_s)
        warmed = self._warm_up(prepared) if judged else WarmUp([], steady=True)
        memory = self.session.memory()
        calibrate(self.kernels, self.session.now)  # the kernels' own warm-up
        if self.job.profile is not None:
            self.channel.send(self._profile(prepared))
            return
        self.clock.current = "timed"  # waiting for its turn is part of it
        self.channel.send(Entered("timed"))
        self.channel.send(Ready(_iteration_s(warmed, first_s), memory.largest))
        served = serve_blocks(
            self.channel, self.job, self.session, self.clock, self.kernels, prepared.call
        )
        idles = self.session.has_queue and self.session.script is None
        conditions = between(served.readings, idles=idles)
        self.channel.send(
            Finished(
                stages=self.clock.stages,
                known=structs.replace(known, cost=_with_memory(known.cost, memory)),
                discarded=1 + len(warmed.durations_s) + served.discarded,
                conditions=structs.replace(conditions, jumps=served.jumps),
                steady=warmed.steady if judged else None,
                settings=self.session.settings(),
            )
        )
        self._observe_on_request(prepared.call)

    def _prepare(self) -> Prepared:
        """The network of the case, or what the script of a simulated device puts in its place."""
        if self.job.profile is not None:
            BACKENDS[self.job.case.backend].name_kernels()
        if self.session.script is not None:
            prepared = _simulate(self.job, self.session.script, self.clock)
        else:
            from bench.harness.worker.prepare import prepare

            prepared = prepare(self.job, self.session, self.clock)
        gc.collect()
        gc.freeze()  # what lasts until the end need not be looked at between blocks
        return prepared

    def _first_call(self, prepared: Prepared) -> tuple[float, Known]:
        """Seconds of the first call, and what its checked output and the network tell."""
        self.session.reset_peak_memory()
        with self.clock.stage("first"):
            started = self.session.now()
            output = prepared.call()
            first_s = self.session.now() - started
        with self.clock.stage("check"):
            return first_s, prepared.inspect(output)

    def _warm_up(self, prepared: Prepared) -> WarmUp:
        with self.clock.stage("warmup"):
            return warm_up(prepared.call, self.session.now, self.job.plan.warmup_s)

    def _profile(self, prepared: Prepared) -> Profiled:
        """A pass of its own, which says where the time goes."""
        from bench.harness.worker.profile import profile

        with self.clock.stage("profile"):
            return profile(self.job, self.session, prepared)

    def _observe_on_request(self, call: Callable[[], object]) -> None:
        """After the report: read the chip's sensors if the parent asks for it, else end."""
        while isinstance(request := self.channel.receive_request(), Observe):
            began = self.session.now()
            telemetry = None
            with self.clock.stage("observe"):
                if sensor := self.session.sensor():
                    telemetry = observe(call, self.session.now, sensor, request.seconds)
            self.channel.send(Observed(telemetry, self.session.now() - began))


def _announcer(channel: Channel, session: Session) -> Callable[[Stage], None]:
    """What tells the parent, and the script of a simulated device, of each stage."""

    def announce(stage: Stage) -> None:
        channel.send(Entered(stage))
        if session.script is not None:
            session.script.entered(stage)

    return announce


def _simulate(job: Job, script: Script, clock: StageClock) -> Prepared:
    """What stands for the network of a case on a simulated device."""
    with clock.stage("build"):
        call = script.network(job.case, job.round)
    for stage in ("fuse", "load"):
        with clock.stage(stage):
            """There is nothing to do."""

    def inspect(_: object) -> Known:
        script.check()
        return Known(Check(), Cost(), job.case.case_id)

    return Prepared(call, inspect)


def _iteration_s(warmed: WarmUp, first_s: float) -> float:
    return statistics.median(warmed.durations_s[-LAST_CALLS:] or [first_s])


def _with_memory(cost: Cost, memory: Memory) -> Cost:
    return structs.replace(
        cost,
        peak_memory_bytes=memory.peak,
        peak_reserved_bytes=memory.reserved,
        process_bytes=memory.process,
    )


def _message(error: BaseException) -> str:
    """What an error says, as far as it can be told: its class may be the user's own."""
    try:
        return str(error)[:LONGEST_MESSAGE].encode(errors="replace").decode()
    except Exception as another:
        return f"the message of the error raised {type(another).__name__}"


def _kind(error: BaseException) -> str:
    """The type of an error; one name for the many ways of torch to say that memory is short."""
    if isinstance(error, MemoryError) or SHORT_OF_MEMORY.search(f"{type(error)} {_message(error)}"):
        return OUT_OF_MEMORY
    return type(error).__name__[:LONGEST_NAME]

"""The child's work: prepare one case, warm it up, time blocks on request, and report."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable
from typing import NamedTuple

from msgspec import structs

from bench.analysis.conditions import conditions_over, without_pauses
from bench.backends import BACKENDS
from bench.devices import Driver, Session, clocks
from bench.devices.driver import Script
from bench.devices.kernels import Kernels, calibrate
from bench.devices.sensors.sensor import Memory
from bench.errors import UsageError
from bench.harness.plan import is_slow
from bench.harness.protocol.channel import Channel, ChannelClosedError
from bench.harness.protocol.messages import (
    CaseFacts,
    Classified,
    Entered,
    Evaluate,
    Exported,
    Finished,
    Job,
    Observe,
    Observed,
    Profiled,
    Raised,
    Ready,
    Refused,
)
from bench.harness.worker import cold
from bench.harness.worker.blocks import serve_blocks
from bench.harness.worker.errors import kind_of, message_of
from bench.harness.worker.scenarios import SimulatedPipeline, block_of, run_all
from bench.harness.worker.telemetry import observe
from bench.harness.worker.timing import (
    Prepared,
    StageClock,
    WarmUp,
    fastest_call,
    timed_call,
    warm_up,
)
from bench.records import Check, Cost, Stage
from bench.records.scenario import COLD, PIPELINE

PIPELINE_CALLS = 3  # before the first block
ITERATION_ESTIMATE_CALLS = 5  # the median of the last warm-up calls is the expected time


def work(channel: Channel, job: Job, driver: Driver) -> None:
    """Measure or profile `job.case` as the parent requests; return when the parent is done or gone.

    Every exception of the case is sent to the parent as Raised.
    """
    clock: StageClock | None = None
    began = clocks.monotonic()
    try:
        if job.case.when.kind == COLD and job.export is None:
            clock = StageClock(clocks.monotonic, lambda stage: channel.send(Entered(stage)))
            cold.serve(channel, job, driver, clock)
            return
        if driver.runs_torch:
            BACKENDS[job.case.backend].preload()
        with driver.session(job.case) as session:
            clock = StageClock(session.now, _announcer(channel, session))
            kernels = session.kernels()
            clock.add("start", clocks.monotonic() - began)
            _Work(channel, job, session, clock, kernels, driver.clock_follows_load).run()
    except ChannelClosedError:
        return
    except BaseException as error:  # SystemExit too: a network may call `sys.exit`
        stage: Stage = clock.current if clock else "start"
        with contextlib.suppress(ChannelClosedError):
            channel.send(Raised(stage, kind_of(error), message_of(error)))


class _Work(NamedTuple):
    """Measures or profiles one case in one process."""

    channel: Channel
    job: Job
    session: Session
    clock: StageClock
    kernels: Kernels
    idles: bool  # the clock of an idle chip falls, so only clocks right after a block count

    def run(self) -> None:
        """Prepare, call once, check; then export, or warm up and profile, or time and report."""
        prepared = self._prepare()
        first_s, facts = self._first_call(prepared)
        if self.job.export is not None:
            self.channel.send(Exported(prepared.export(facts, self.job.export)))
            return
        if self.job.evaluate is not None:
            self._evaluate(prepared, facts, self.job.evaluate)
            return
        warms_up = not is_slow(self.job.plan, self.job.case.batch, first_s)
        warmed = self._warm_up(prepared) if warms_up else WarmUp([], steady=True)
        if warms_up:
            self._compare(prepared, warmed.output)
            warmed = warmed._replace(output=None)
        memory = self.session.memory()
        calibrate(self.kernels, self.session.now)  # the kernels' own warm-up
        if self.job.profile is not None:
            profiled = self._profile(prepared)
            self.channel.send(structs.replace(profiled, notes=[*facts.notes, *profiled.notes]))
            return
        self.clock.current = "timed"  # the wait for the first turn belongs to this stage
        self.channel.send(Entered("timed"))
        durations_s = warmed.durations_s or [first_s]
        scenario = self.job.case.when
        pipeline = prepared.pipeline() if scenario.kind == PIPELINE else None
        call = run_all(pipeline.steps) if pipeline else prepared.call
        iteration_s = _iteration_s(warmed, first_s)
        if pipeline:
            durations_s = [timed_call(call, self.session.now) for _ in range(PIPELINE_CALLS)]
            iteration_s = durations_s[-1]
        fastest_s = fastest_call(call, self.session.now, durations_s)
        self.channel.send(Ready(iteration_s, memory.largest, fastest_s))
        timed = block_of(scenario, call, self.session, pipeline.steps if pipeline else ())
        rest = (self.channel, self.job, self.session, self.clock, self.kernels)
        served = serve_blocks(*rest, call, timed)
        if pipeline:
            pipeline.close()
            served = served._replace(output=prepared.call())  # for the images that it had before
        conditions = without_pauses(
            conditions_over(served.readings, idles=self.idles), served.paused_s
        )
        with self.clock.stage("check"):
            settings = {**self.session.settings(), **prepared.settings()}
        threads_used = self.session.threads_used(self.job.case.threads)
        changed = prepared.changed()
        self._compare(prepared, served.output)
        with self.clock.stage("check"):
            unseen = prepared.unseen(self.session.now, served.typical_s)
        facts = structs.replace(facts, notes=[*facts.notes, *unseen.notes])
        self.channel.send(
            Finished(
                stages=self.clock.stages,
                facts=structs.replace(facts, cost=self._with_memory(facts.cost, memory)),
                discarded=1 + len(warmed.durations_s) + served.discarded,
                conditions=structs.replace(
                    conditions, jumps=served.jumps, threads_used=threads_used
                ),
                steady=warmed.steady if warms_up else None,
                settings=settings,
                changed=changed.by_network,
                unattributed=changed.unattributed,
                unseen_s=unseen.unseen_s,
                repeated_s=unseen.repeated_s,
            )
        )
        self._observe_on_request(prepared.call)

    def _prepare(self) -> Prepared:
        """Return the network of the case, or the scripted stand-in of a simulated device."""
        if self.job.profile is not None:
            BACKENDS[self.job.case.backend].name_kernels()
        if self.session.script is not None:
            prepared = _simulate(self.job, self.session.script, self.clock)
        else:
            from bench.harness.worker.prepare import prepare

            prepared = prepare(self.job, self.session, self.clock)
        gc.collect()
        gc.freeze()  # the collector then skips these long-lived objects between blocks
        return prepared

    def _first_call(self, prepared: Prepared) -> tuple[float, CaseFacts]:
        """Return the seconds of the first call, and the facts from the check of its output."""
        self.session.reset_peak_memory()
        with self.clock.stage("first"):
            started = self.session.now()
            try:
                output = prepared.call()
            except Exception as error:
                if (told := prepared.explained(error)) is error:
                    raise
                raise told from error
            first_s = self.session.now() - started
        with self.clock.stage("check"):
            return first_s, prepared.inspect(output)

    def _warm_up(self, prepared: Prepared) -> WarmUp:
        with self.clock.stage("warmup"):
            return warm_up(prepared.call, self.session.now, self.job.plan.warmup_s)

    def _compare(self, prepared: Prepared, output: object) -> None:
        """Raise where a later output differs from the first one."""
        with self.clock.stage("check"):
            prepared.compare(output)

    def _with_memory(self, cost: Cost, memory: Memory) -> Cost:
        """Return the cost with the memory of the network.

        It is not known for an exported network: the process also holds the network of torch, whose
        answers are compared. Nor is it known where gradients were compared with those of another
        network.
        """
        if self.session.script is None and (
            BACKENDS[self.job.case.backend].exporters or _compares_gradients(self.job)
        ):
            return cost
        return structs.replace(
            cost,
            peak_memory_bytes=memory.peak,
            peak_reserved_bytes=memory.reserved,
            process_bytes=memory.process,
        )

    def _evaluate(self, prepared: Prepared, facts: CaseFacts, wanted: Evaluate) -> None:
        """Classify images, and send how well."""
        with self.clock.stage("evaluate"):
            try:
                found = prepared.evaluate(wanted, lambda done: self.channel.send(Classified(done)))
            except UsageError as error:
                self.channel.send(Refused(error.message, error.remedy))
                return
        self.channel.send(structs.replace(found, notes=facts.notes))

    def _profile(self, prepared: Prepared) -> Profiled:
        """Run the profiled pass, which is separate from the timed blocks."""
        from bench.harness.worker.profile import profile

        with self.clock.stage("profile"):
            return profile(self.job, self.session, prepared)

    def _observe_on_request(self, call: Callable[[], object]) -> None:
        """Observe the chip for each Observe request; return on any other request."""
        while isinstance(request := self.channel.receive_request(), Observe):
            began = self.session.now()
            telemetry = None
            with self.clock.stage("observe"):
                if sensor := self.session.sensor():
                    telemetry = observe(call, self.session.now, sensor, request.seconds)
            self.channel.send(Observed(telemetry, self.session.now() - began))


def _compares_gradients(job: Job) -> bool:
    from bench.harness.worker.check import differences_of_setting  # imports torch

    return bool(job.case.trains and job.facts is None and differences_of_setting(job.case))


def _announcer(channel: Channel, session: Session) -> Callable[[Stage], None]:
    """Return the function that announces each stage to the parent and to the script, if any."""

    def announce(stage: Stage) -> None:
        channel.send(Entered(stage))
        if session.script is not None:
            session.script.entered(stage)

    return announce


def _simulate(job: Job, script: Script, clock: StageClock) -> Prepared:
    """Return the scripted stand-in for the network of a case on a simulated device."""
    with clock.stage("build"):
        call = script.network(job.case, job.round)
    for stage in ("fuse", "load"):
        with clock.stage(stage):
            pass  # a simulated device only announces these stages

    def inspect(_: object) -> CaseFacts:
        script.check()
        return CaseFacts(Check(), Cost(), job.case.case_id)

    return Prepared(call, inspect, pipeline=lambda: SimulatedPipeline(call, script.rest))


def _iteration_s(warmed: WarmUp, first_s: float) -> float:
    return statistics.median(warmed.durations_s[-ITERATION_ESTIMATE_CALLS:] or [first_s])

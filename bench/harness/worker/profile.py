"""Profiles one prepared case in the child, and measures peaks and utilisation on request."""

from __future__ import annotations

import os

from msgspec import structs

from bench.analysis.profile.breakdown import ProfilerCost, break_down
from bench.analysis.profile.trace import TraceError, has_kernels
from bench.analysis.stats import mean_of_known
from bench.backends import BACKENDS
from bench.devices import Session, precision
from bench.harness.plan import ProfilePlan
from bench.harness.protocol.messages import Job, Profiled
from bench.harness.worker.peaks import peaks
from bench.harness.worker.profiled_pass import (
    Recorder,
    StepRecorder,
    TorchRecorder,
    fault_cost_s,
    run_pass,
    without_host,
)
from bench.harness.worker.runtime_pass import RuntimeRecorder
from bench.harness.worker.telemetry import observe
from bench.harness.worker.timing import Prepared
from bench.records import Utilisation
from bench.text import version_numbers

NO_TRACE = "There is no trace: of a runtime's profile, the mean times of the nodes are kept."
NO_PROFILER = "no profiler shows what {} executes; use another --backend"
NO_KERNEL = (
    "no kernel is in the trace: CUPTI is missing, or another profiler has it; on a Jetson, the "
    "profiler may need root"
)
PROFILES_GRAPHS = (12, 6)  # CUDA from this version on


def profile(job: Job, session: Session, prepared: Prepared) -> Profiled:
    """Profile the prepared network of `job` as its ProfilePlan `job.profile` asks.

    Raises TraceError where the trace is incomplete, or has no kernel on a device with a queue.
    """
    plan = job.profile
    assert plan is not None
    check_profiler(job.case.backend, session)
    recorder = _recorder(job, session, prepared)
    try:
        reached = peaks(session, precision.dtype(job.case.precision)) if plan.peaks else None
        seen = run_pass(prepared.call, session, plan.seconds, plan.block_s, recorder)
        if session.has_queue and not has_kernels(seen.iterations):
            raise TraceError(NO_KERNEL)
        faults_s = max(seen.faults, 0.0) * fault_cost_s()
        cost = ProfilerCost(recorder.event_cost_s(), faults_s)
    finally:
        recorder.close()
    count = session.settings().get("sm_count")
    sm_count = count if isinstance(count, int) else None
    found = break_down(seen.iterations, seen.operators, seen.samples, cost, sm_count)
    utilisation = found.utilisation
    if session.has_queue:
        utilisation = structs.replace(utilisation, sampled=_sampled(plan, session, prepared))
    else:
        utilisation = Utilisation(busy=min(seen.cores / job.case.threads, 1.0))
    return Profiled(
        rows=found.rows,
        waterfall=found.waterfall,
        utilisation=utilisation,
        plain_samples_s=[sample for block in seen.samples.plain for sample in block],
        profiled_samples_s=[sample for block in seen.samples.profiled for sample in block],
        events=found.events,
        macs_per_s=reached.macs_per_s if reached else None,
        bytes_per_s=reached.bytes_per_s if reached else None,
        trace=without_host(seen.last_trace) if plan.trace and seen.last_trace else None,
        notes=[NO_TRACE] if plan.trace and not seen.last_trace else [],
    )


def _recorder(job: Job, session: Session, prepared: Prepared) -> Recorder:
    """Return the profiler of the runtime, or torch's, which sees all kernels of a GPU.

    Raises TraceError for a runtime of a CPU that has no profiler.
    """
    backend, operators = BACKENDS[job.case.backend], prepared.operators()
    if backend.exporters and not session.has_queue:
        if own := prepared.profiler():
            return RuntimeRecorder(*own, operators, session)
        raise TraceError(NO_PROFILER.format(job.case.backend))
    recorder = StepRecorder if job.case.trains else TorchRecorder
    return recorder(prepared.call, session, operators if backend.one_by_one else ())


def check_profiler(backend: str, session: Session) -> None:
    """Let the profiler leave the process after each use, or raise TraceError where it must stay.

    A profiler that stays slows the launches of plain calls (CUPTI, the library of NVIDIA's
    profiler). Before CUDA 12.6, a CUDA graph crashes after CUPTI has left.
    """
    os.environ["TEARDOWN_CUPTI"] = "1"
    cuda = str(session.settings().get("cuda") or "")
    version = version_numbers(cuda)
    if BACKENDS[backend].replays_graph and version and version < PROFILES_GRAPHS:
        raise TraceError(f"CUDA {cuda} cannot profile a CUDA graph; CUDA 12.6 can")


def _sampled(plan: ProfilePlan, session: Session, prepared: Prepared) -> float | None:
    """Return the mean utilisation that the driver reports during a steady loop; None if unknown."""
    sensor = session.sensor()
    if sensor is None or not plan.observe_s:
        return None
    return mean_of_known(observe(prepared.call, session.now, sensor, plan.observe_s).utilisation)

"""The profiled pass in the child: plain and profiled blocks in turns, in one process."""

from __future__ import annotations

import json
import mmap
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from bench.analysis.profile import trace
from bench.analysis.profile.breakdown import Samples
from bench.analysis.profile.trace import MARK, Iteration, TraceError
from bench.devices import Session
from bench.devices.host import own_usage
from bench.harness.worker.timing import pipelined_block, timed_block, timed_call

EVENT_CALLS = 1000
EVENT_REPEATS = 3
FAULT_BYTES = 64 * 2**20
FAULT_REPEATS = 5

Call = Callable[[], object]


class Pass(NamedTuple):
    """What a pass saw: samples by block, profiled iterations, the last block's trace as it is.

    `cores` is how many CPUs the process kept busy in the plain blocks, `faults` how many more page
    faults an iteration had in the profiled ones: what the profiler allocates upsets the heap.
    """

    samples: Samples
    iterations: list[Iteration]
    last_trace: bytes
    cores: float
    faults: float


def run_pass(call: Call, session: Session, seconds: float, block_s: float) -> Pass:
    """Time and profile `call` in blocks that alternate for `seconds`; their order reverses.

    Raises TraceError for a trace that is no good.
    """
    iterations = max(1, round(block_s / timed_call(call, session.now)))
    _profiled(call, session, 1)  # the profiler's own start
    samples = Samples([], [])
    seen: list[Iteration] = []
    content = b""
    used_s = wall_s = 0.0
    faults = [0, 0]
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(samples.plain) < 2:
        for is_profiled in (False, True) if len(samples.plain) % 2 else (True, False):
            if is_profiled:
                durations, content, faulted = _profiled(call, session, iterations)
                faults[1] += faulted
                found = trace.read(content)
                if len(found) != iterations:
                    raise TraceError(f"{len(found)} of {iterations} iterations are in the trace")
                seen += found
                samples.profiled.append(durations)
            else:
                call()  # after the profiler's own work
                session.now()
                before = own_usage()
                block = timed_block(call, session.now, iterations)
                after = own_usage()
                used_s += after.cpu_s - before.cpu_s
                faults[0] += after.page_faults - before.page_faults
                wall_s += sum(block.samples_s)
                samples.plain.append(block.samples_s)
    more = (faults[1] - faults[0]) / len(seen)
    return Pass(samples, seen, content, used_s / wall_s, more)


def event_cost_s(session: Session) -> float:
    """Seconds that the profiler adds for each event that it writes down.

    From many calls of an operator that does next to nothing, with and without it.
    """
    tiny = torch.ones(1, device=session.torch_device)

    def call() -> None:
        torch.relu(tiny)

    costs = []
    for _ in range(EVENT_REPEATS):
        plain_s = pipelined_block(call, session.now, EVENT_CALLS) * EVENT_CALLS
        with profile(activities=_activities(session)) as profiler, record_function(MARK):
            started = time.perf_counter()
            for _ in range(EVENT_CALLS):
                call()
            profiled_s = time.perf_counter() - started
        (iteration,) = trace.read(_export(profiler))
        costs.append((profiled_s - plain_s) / (iteration.events - 1))
    return max(statistics.median(costs), 0.0)


def fault_cost_s() -> float:
    """Seconds of a page fault: what writing to fresh memory takes longer than writing again."""
    costs = []
    for _ in range(FAULT_REPEATS):
        before, started = own_usage().page_faults, time.perf_counter()
        fresh = torch.frombuffer(_small_pages(FAULT_BYTES), dtype=torch.float32).fill_(1.0)
        first_s, faulted = time.perf_counter() - started, own_usage().page_faults - before
        started = time.perf_counter()
        fresh.fill_(1.0)
        again_s = time.perf_counter() - started
        if faulted:
            costs.append((first_s - again_s) / faulted)
    return max(statistics.median(costs), 0.0) if costs else 0.0


def _profiled(call: Call, session: Session, iterations: int) -> tuple[list[float], bytes, int]:
    """Durations of profiled calls, their trace, their page faults; the first is discarded."""
    durations: list[float] = []
    with profile(activities=_activities(session)) as profiler:
        call()  # in no iteration: it finds the profiler just begun
        session.now()
        before = own_usage().page_faults
        for _ in range(iterations):
            started = session.now()
            with record_function(MARK):
                call()
                ended = session.now()
            durations.append(ended - started)
        faulted = own_usage().page_faults - before
    return durations, _export(profiler), faulted


def _activities(session: Session) -> list[ProfilerActivity]:
    """The host, and the device where torch's profiler has an activity of its name."""
    own = getattr(ProfilerActivity, session.torch_device.upper(), ProfilerActivity.CPU)
    return list(dict.fromkeys([ProfilerActivity.CPU, own]))


def without_host(content: bytes) -> bytes:
    """A trace without the name of the machine and the paths of the profiler's own files."""
    known = json.loads(content)
    for key in ("traceName", "distributedInfo", "host_name"):
        known.pop(key, None)
    return json.dumps(known).encode()


def _export(profiler: profile) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        return path.read_bytes()


def _small_pages(size: int) -> mmap.mmap:
    """Fresh memory of which each fault brings one small page, as an allocator's mostly does."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory

"""The profiled pass in the child: plain and profiled blocks alternate in one process."""

from __future__ import annotations

import json
import math
import mmap
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from bench.analysis.profile import step, trace
from bench.analysis.profile.breakdown import Samples
from bench.analysis.profile.trace import MARK, Iteration, TraceError
from bench.devices import Session, clocks
from bench.devices.host import own_usage
from bench.harness.plan import MOST_SAMPLES
from bench.harness.worker.timing import pipelined_block, timed_block, timed_call
from bench.records import Operator

EVENT_CALLS = 1000
EVENT_REPEATS = 3
FAULT_BYTES = 64 * 2**20
FAULT_REPEATS = 5

Call = Callable[[], object]


class Pass(NamedTuple):
    """The result of a pass: samples per block, profiled iterations, the last block's raw trace.

    `operators` are those of each iteration, in order; () if they are not known. `cores` is CPU
    seconds / wall seconds of the plain blocks. `faults` is how many more page faults a profiled
    iteration has than a plain one: the profiler's allocations disturb the heap.
    """

    samples: Samples
    iterations: list[Iteration]
    operators: Sequence[Operator]
    last_trace: bytes
    cores: float
    faults: float


class Recorder:
    """Profiles calls of one network, about `most_calls` at most.

    `last_trace` is of the last block, in Chrome's format; b"" where there is none.
    """

    most_calls = MOST_SAMPLES
    last_trace = b""

    def block(self, count: int) -> tuple[list[float], int]:
        """Return the seconds of `count` profiled calls, and the number of their page faults.

        Raises TraceError where the trace is unreadable or lacks iterations.
        """
        raise NotImplementedError

    def recorded(self) -> tuple[list[Iteration], Sequence[Operator]]:
        """Return the calls of all blocks, and the operators of each; () if they are not known."""
        raise NotImplementedError

    def event_cost_s(self) -> float:
        """Return the seconds that profiling adds per event that it records."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove what profiling left behind."""


class TorchRecorder(Recorder):
    """Torch's profiler. `operators` are those that the network calls one by one, if it does."""

    def __init__(self, call: Call, session: Session, operators: Sequence[Operator] = ()) -> None:
        self._call = call
        self._session = session
        self._operators = operators
        self._seen: list[Iteration] = []
        _profiled(call, session, 1)  # the first use of the profiler is slow

    def block(self, count: int) -> tuple[list[float], int]:
        """Profile calls, and read their trace."""
        durations, self.last_trace, faulted = _profiled(self._call, self._session, count)
        found = trace.read(self.last_trace)
        if len(found) != count:
            raise TraceError(f"{len(found)} of {count} iterations are in the trace")
        self._seen += found
        return durations, faulted

    def recorded(self) -> tuple[list[Iteration], Sequence[Operator]]:
        """Return the calls of all blocks, and the operators that were given."""
        return self._seen, self._operators

    def event_cost_s(self) -> float:
        """Return the seconds that the profiler adds per event."""
        return event_cost_s(self._session)


class StepRecorder(TorchRecorder):
    """Torch's profiler for training steps; `operators` are those of the forward pass."""

    def recorded(self) -> tuple[list[Iteration], Sequence[Operator]]:
        """Return the steps of all blocks, and all operators of a step."""
        seen, forward = super().recorded()
        return seen, step.operators_of(seen[0], forward) if forward else ()


def run_pass(
    call: Call, session: Session, seconds: float, block_s: float, recorder: Recorder | None = None
) -> Pass:
    """Alternate plain and profiled blocks of `call` for `seconds`, with at least two of each.

    `recorder` profiles the same network; by default, torch's profiler does. The order within a pair
    reverses each time, so that a drift affects both kinds alike. Raises TraceError where a trace is
    unreadable or lacks iterations.
    """
    recorder = recorder or TorchRecorder(call, session)
    wanted = round(block_s / timed_call(call, session.now))
    most = recorder.most_calls * block_s / max(seconds, 4 * block_s)  # so many in all blocks
    iterations = max(1, min(wanted, int(most)))
    samples = Samples([], [])
    used_s = wall_s = 0.0
    faults = [0, 0]
    until = clocks.monotonic() + seconds
    most_blocks = max(2, math.ceil(recorder.most_calls / iterations))
    while len(samples.plain) < (most_blocks if clocks.monotonic() < until else 2):
        for is_profiled in (False, True) if len(samples.plain) % 2 else (True, False):
            if is_profiled:
                durations, faulted = recorder.block(iterations)
                faults[1] += faulted
                samples.profiled.append(durations)
            else:
                call()  # discarded: the profiler's work may disturb it
                session.now()
                before = own_usage()
                block = timed_block(call, session.now, iterations)
                after = own_usage()
                used_s += after.cpu_s - before.cpu_s
                faults[0] += after.page_faults - before.page_faults
                wall_s += sum(block.samples_s)
                samples.plain.append(block.samples_s)
    seen, operators = recorder.recorded()
    more = (faults[1] - faults[0]) / len(seen)
    return Pass(samples, seen, operators, recorder.last_trace, used_s / wall_s, more)


def event_cost_s(session: Session) -> float:
    """Return the seconds that the profiler adds per event that it records.

    cost = (profiled seconds - plain seconds) / events, for EVENT_CALLS calls of a tiny operator.
    The result is the median of EVENT_REPEATS, and at least 0.
    """
    tiny = torch.ones(1, device=session.torch_device)

    def call() -> None:
        torch.relu(tiny)

    costs = []
    for _ in range(EVENT_REPEATS):
        plain_s = pipelined_block(call, session.now, EVENT_CALLS) * EVENT_CALLS
        with profile(activities=_activities(session)) as profiler, record_function(MARK):
            started = clocks.monotonic()
            for _ in range(EVENT_CALLS):
                call()
            profiled_s = clocks.monotonic() - started
        (iteration,) = trace.read(_export(profiler))
        costs.append((profiled_s - plain_s) / (iteration.events - 1))
    return max(statistics.median(costs), 0.0)


def fault_cost_s() -> float:
    """Return the seconds of one page fault.

    cost = (seconds of the first write to fresh memory - seconds of the second write) / page faults.
    The result is the median of FAULT_REPEATS, and at least 0.
    """
    costs = []
    for _ in range(FAULT_REPEATS):
        before, started = own_usage().page_faults, clocks.monotonic()
        fresh = torch.frombuffer(_small_pages(FAULT_BYTES), dtype=torch.float32).fill_(1.0)
        first_s, faulted = clocks.monotonic() - started, own_usage().page_faults - before
        started = clocks.monotonic()
        fresh.fill_(1.0)
        again_s = clocks.monotonic() - started
        if faulted:
            costs.append((first_s - again_s) / faulted)
    return max(statistics.median(costs), 0.0) if costs else 0.0


def _profiled(call: Call, session: Session, iterations: int) -> tuple[list[float], bytes, int]:
    """Return the seconds of profiled calls, their trace, and the number of their page faults."""
    durations: list[float] = []
    with profile(activities=_activities(session)) as profiler:
        call()  # discarded: the profiler has just started
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
    """Return the CPU's activity, and the device's where torch's profiler has one of that name."""
    own = getattr(ProfilerActivity, session.torch_device.upper(), ProfilerActivity.CPU)
    return list(dict.fromkeys([ProfilerActivity.CPU, own]))


def without_host(content: bytes) -> bytes:
    """Return a trace without the machine's name and the paths of the profiler's files."""
    parsed = json.loads(content)
    for key in ("traceName", "distributedInfo", "host_name"):
        parsed.pop(key, None)
    return json.dumps(parsed).encode()


def _export(profiler: profile) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        return path.read_bytes()


def _small_pages(size: int) -> mmap.mmap:
    """Return fresh memory without huge pages: each fault maps one small page, as in a heap."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory

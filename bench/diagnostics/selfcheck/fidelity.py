"""Times a network with the harness and with a bare loop, in turns, in one process.

`python -m bench.diagnostics.selfcheck.fidelity DEVICE THREADS SECONDS BACKEND` prints a JSON list
of pairs: seconds per call by the harness, and by the loop. With `eager` this is host time from the
call to its result; with `cudagraph` it is time by the clock of the device.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from bench.backends import BACKENDS
from bench.devices import DEVICES, Session
from bench.diagnostics.selfcheck.plant import resnet18_0
from bench.harness.worker.timing import timed_block
from bench.records import Case

ITERATIONS = 8

Call = Callable[[], object]
Seconds = Callable[[], float]


def main() -> None:
    """Time pairs until the seconds are over. Every second pair is timed in reverse order."""
    name, threads, seconds, backend = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    pairs: list[tuple[float, float]] = []
    case = Case("resnet18", "plain", backend, device=name, threads=threads)
    with DEVICES[name].session(case) as session:
        net = resnet18_0().eval().to(session.torch_device)
        images = torch.randn(1, 3, 224, 224, device=session.torch_device)
        call = BACKENDS[backend].load(net, [images], "fp32")
        harness, loop = (_replays if backend == "cudagraph" else _waited)(call, session)
        for _ in range(3):
            harness(), loop()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pairs.append((harness(), loop()))
            bare = loop()
            pairs.append((harness(), bare))
    print(json.dumps(pairs))


def _waited(call: Call, session: Session) -> tuple[Seconds, Seconds]:
    """Return two functions that give host seconds per call: by the harness, and by a bare loop."""

    def harness() -> float:
        return statistics.fmean(timed_block(call, session.now, ITERATIONS).samples_s)

    def loop() -> float:
        if session.has_queue:
            began = time.perf_counter()
            for _ in range(ITERATIONS):
                call()
                torch.cuda.synchronize()
            return (time.perf_counter() - began) / ITERATIONS
        began = time.perf_counter()
        for _ in range(ITERATIONS):
            call()
        return (time.perf_counter() - began) / ITERATIONS

    return harness, loop


def _replays(call: Call, session: Session) -> tuple[Seconds, Seconds]:
    """Return two functions that give device seconds per call: by the harness, and by a bare loop.

    Both queue all calls before they wait.
    """

    def harness() -> float:
        return statistics.fmean(session.device_times(call, ITERATIONS))

    def loop() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(ITERATIONS):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / ITERATIONS

    return harness, loop


if __name__ == "__main__":
    main()

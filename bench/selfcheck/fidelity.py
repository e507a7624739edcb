"""Whether the harness times a network as a bare loop does: both in one process, in turns.

Run as a process of its own: `python -m bench.selfcheck.fidelity DEVICE THREADS SECONDS` prints
a JSON list of pairs, seconds of an iteration by the harness and by the loop.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import torch

from bench.devices import DEVICES
from bench.measure import timed_block
from bench.records import Case
from bench.selfcheck.plant import resnet18_0

ITERATIONS = 8


def main() -> None:
    """Time pairs until the seconds are over, each second one in reverse order."""
    name, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    device = DEVICES[name]
    pairs: list[tuple[float, float]] = []
    with device.session(Case("resnet18", "plain", device=name, threads=threads)):
        net = resnet18_0().eval().to(device.torch_device)
        images = torch.randn(1, 3, 224, 224, device=device.torch_device)

        def harness() -> float:
            return statistics.fmean(
                timed_block(lambda: net(images), device.now, ITERATIONS).samples_s
            )

        def loop() -> float:
            began = device.now()
            for _ in range(ITERATIONS):
                net(images)
            return (device.now() - began) / ITERATIONS

        for _ in range(3):
            harness(), loop()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pairs.append((harness(), loop()))
            bare = loop()
            pairs.append((harness(), bare))
    print(json.dumps(pairs))


if __name__ == "__main__":
    main()

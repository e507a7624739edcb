"""What the harness adds to a training step, on this machine: no test.

    PYTHONPATH=tests:. .nox/env/bin/python tests/benchmarks/step_overhead.py [NETWORK]

Two copies of a network (ResNet18 of timm, 32 images of 64 pixels, if none is named) are trained in
turns, one by `bench` and one by a bare loop. The program prints the ratio of their steps with its
95 % interval, and exits with 1 if the harness adds more than 1 % for sure.
"""

import copy
import math
import statistics
import sys
import time

import torch
from torch.nn import functional

from bench import models
from bench.analysis.stats import mean_interval
from bench.devices import clocks
from bench.harness.worker.timing import timed_block
from bench.harness.worker.training import DECAY, RATE, Step

BATCH, PIXELS, BLOCKS, STEPS = 32, 64, 60, 4
BAR = 1.01


def bare(net, optimiser, images, targets):
    """The seconds of STEPS steps in a plain loop."""
    samples = []
    for _ in range(STEPS):
        began = time.perf_counter()
        loss = functional.cross_entropy(net(images), targets)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        samples.append(time.perf_counter() - began)
    return samples


def main(network: str) -> int:
    """Train in turns, print, and return the exit code."""
    first = models.build(network, resolution=PIXELS).train()
    second = copy.deepcopy(first)
    images, targets = torch.randn(BATCH, 3, PIXELS, PIXELS), torch.randint(1000, (BATCH,))
    step = Step(first, first, [images], targets)
    optimiser = torch.optim.AdamW(second.parameters(), lr=RATE, weight_decay=DECAY)
    logs = []
    for number in range(BLOCKS):
        both = {}
        for is_ours in (True, False) if number % 2 else (False, True):
            if is_ours:
                with torch.inference_mode():
                    both[True] = timed_block(step, clocks.monotonic, STEPS).samples_s
            else:
                both[False] = bare(second, optimiser, images, targets)
        ours, plain = (statistics.median(both[is_ours]) for is_ours in (True, False))
        logs.append(math.log(ours / plain))
    found = mean_interval(logs[2:])  # the first blocks warm up
    point, low, high = (math.exp(each) for each in (found.point, found.low, found.high))
    print(f"{network}: harness / bare loop {point:.4f} ({low:.4f} to {high:.4f})")
    return int(low > BAR)


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["timm/resnet18"])))

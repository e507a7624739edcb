"""The calibration kernels: short fixed work, one bound by computing, one by memory.

They are timed between blocks. What slows them slows a network too, though not as much or as
little, so they tell in which state of the machine a block was timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

REPEATS = 3
MATRIX = {"cpu": 384, "cuda": 4096}  # a millisecond or so
COPIED_BYTES = {"cpu": 32 * 2**20, "cuda": 256 * 2**20}  # more than the last cache, there and back


class Kernels(NamedTuple):
    """Two calls that do the same work each time."""

    compute: Callable[[], object]
    memory: Callable[[], object]


class Calibration(NamedTuple):
    """Seconds that the kernels took: medians of a few calls."""

    compute_s: float
    memory_s: float


def torch_kernels(torch_device: str) -> Kernels:
    """A square fp32 matrix product and a copy, on memory allocated now."""
    import torch

    size, floats = MATRIX[torch_device], COPIED_BYTES[torch_device] // 4
    left, right = torch.ones(2, size, size, device=torch_device)
    product = torch.empty(size, size, device=torch_device)
    source = torch.ones(floats, device=torch_device)
    target = torch.empty_like(source)
    return Kernels(
        compute=lambda: torch.mm(left, right, out=product), memory=lambda: target.copy_(source)
    )


def calibrate(kernels: Kernels, now: Callable[[], float]) -> Calibration:
    """Time the kernels a few times each."""
    return Calibration(_median_s(kernels.compute, now), _median_s(kernels.memory, now))


def _median_s(call: Callable[[], object], now: Callable[[], float]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = now()
        call()
        seconds.append(now() - started)
    return statistics.median(seconds)

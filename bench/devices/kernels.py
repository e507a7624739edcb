"""The calibration kernels: short fixed work, one bound by computing, one by memory.

They are timed between blocks. What slows them slows a network too, though not as much or as
little, so they tell in which state of the machine a block was timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

REPEATS = 3
CHANNELS = {"cpu": 512, "cuda": 4096}  # of a pointwise convolution at 14²: a millisecond or so
COPIED_BYTES = {"cpu": 32 * 2**20, "cuda": 256 * 2**20}  # beyond most last caches, there and back
PIXELS = 14


class Kernels(NamedTuple):
    """Two calls that do the same work each time."""

    compute: Callable[[], object]
    memory: Callable[[], object]


class Calibration(NamedTuple):
    """Seconds that the kernels took: medians of a few calls."""

    compute_s: float
    memory_s: float


def torch_kernels(torch_device: str) -> Kernels:
    """A pointwise fp32 convolution and a copy, on memory allocated now.

    Of what was tried on a shared machine, the times of these two followed best what it did to
    whole networks; a plain matrix product felt it half as much.
    """
    import torch

    channels, floats = CHANNELS[torch_device], COPIED_BYTES[torch_device] // 4
    images = torch.ones(1, channels, PIXELS, PIXELS, device=torch_device)
    weight = torch.ones(channels, channels, 1, 1, device=torch_device)
    source = torch.ones(floats, device=torch_device)
    target = torch.empty_like(source)
    return Kernels(
        compute=lambda: torch.conv2d(images, weight), memory=lambda: target.copy_(source)
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

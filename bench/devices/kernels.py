"""The calibration kernels: short fixed work, one bound by computing, one by memory.

They are timed between blocks. What slows them slows a network too, though not as much or as
little, so they tell in which state of the machine a block was timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

REPEATS = 3


class KernelSize(NamedTuple):
    """Channels and pixels a side of a pointwise convolution, its type, and bytes of a copy."""

    channels: int
    pixels: int
    dtype: str
    copied_bytes: int


# Bound by products, in a type that no switch for TF32 touches; the copy is beyond most last
# caches. Each takes a tenth of a millisecond or more. Each child has its own, so they are small.
CPU = KernelSize(512, 14, "float32", 32 * 2**20)
GPU = KernelSize(4096, 56, "float16", 96 * 2**20)
BOARD = KernelSize(2048, 28, "float16", 32 * 2**20)


class PeakWork(NamedTuple):
    """Square matrix products of these sides, and a copy of so many bytes.

    They show what a device reaches at best: multiply-accumulates and bytes a second.
    """

    sides: tuple[int, ...]
    copied_bytes: int


CPU_PEAK = PeakWork((512, 1024, 2048), 64 * 2**20)
GPU_PEAK = PeakWork((4096, 8192), 512 * 2**20)


class Kernels(NamedTuple):
    """Two calls that do the same work each time."""

    compute: Callable[[], object]
    memory: Callable[[], object]


class Calibration(NamedTuple):
    """Seconds that the kernels took: medians of a few calls."""

    compute_s: float
    memory_s: float


def torch_kernels(size: KernelSize, torch_device: str) -> Kernels:
    """A pointwise convolution and a copy on a device of torch, on memory allocated now.

    Of what was tried on a shared machine, the times of these two followed best what it did to
    whole networks; a plain matrix product felt it half as much.
    """
    import torch

    kind = {"dtype": getattr(torch, size.dtype), "device": torch_device}
    images = torch.ones(1, size.channels, size.pixels, size.pixels, **kind)
    weight = torch.full((size.channels, size.channels, 1, 1), 1 / size.channels, **kind)
    source = torch.ones(size.copied_bytes // 4, device=torch_device)
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

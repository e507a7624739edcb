"""The calibration kernels: short fixed work, one bound by computing, one by memory.

They are timed between blocks. What slows them slows a network too, though not as much or as
little, so they tell in which state of the machine a block was timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

REPEATS = 3
PIXELS = 14


class KernelSize(NamedTuple):
    """Channels of a pointwise convolution at 14², its type, and bytes of a copy."""

    channels: int
    dtype: str
    copied_bytes: int


# Each takes some tenths of a millisecond or more, in a type that no switch for TF32 touches; the
# copy is beyond most last caches. A board's memory is small, and each child has its own.
CPU = KernelSize(512, "float32", 32 * 2**20)
GPU = KernelSize(8192, "float16", 256 * 2**20)
BOARD = KernelSize(2048, "float16", 32 * 2**20)


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
    images = torch.ones(1, size.channels, PIXELS, PIXELS, **kind)
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

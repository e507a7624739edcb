"""The calibration kernels: short constant work, one bound by compute and one by memory.

The worker times them between blocks. A disturbance that slows a network also slows the kernels,
though by another factor. So their times show the state of the machine around each block.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

REPEATS = 3


class KernelSize(NamedTuple):
    """Sizes of a pointwise convolution (images are pixels x pixels), and of a copy in bytes."""

    channels: int
    pixels: int
    dtype: str
    copied_bytes: int


# The switch for TF32 does not affect these types. The copy is larger than most last-level caches.
# A kernel takes 0.1 ms or more. The sizes are small because every child allocates its own kernels.
CPU = KernelSize(512, 14, "float32", 32 * 2**20)
GPU = KernelSize(4096, 56, "float16", 96 * 2**20)
BOARD = KernelSize(2048, 28, "float16", 32 * 2**20)


class PeakWork(NamedTuple):
    """Work that measures peak rates, in multiply-accumulates and bytes per second.

    `sides` are the sizes of square matrix products, and `copied_bytes` is the size of a copy.
    """

    sides: tuple[int, ...]
    copied_bytes: int


CPU_PEAK = PeakWork((256, 384, 512, 768, 1024, 1536, 2048), 64 * 2**20)
GPU_PEAK = PeakWork((4096, 8192), 512 * 2**20)


class Kernels(NamedTuple):
    """Two functions; each does the same work at every call."""

    compute: Callable[[], object]
    memory: Callable[[], object]


class Calibration(NamedTuple):
    """Seconds of the kernels: medians of REPEATS calls."""

    compute_s: float
    memory_s: float


def torch_kernels(size: KernelSize, torch_device: str) -> Kernels:
    """Allocate memory on the device, and return a pointwise convolution and a copy.

    Several kernels were tried on a shared machine. The times of these two followed the times of
    whole networks best; the time of a matrix product changed half as much.
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
    """Time each kernel REPEATS times; return the medians in seconds."""
    return Calibration(_median_s(kernels.compute, now), _median_s(kernels.memory, now))


def _median_s(call: Callable[[], object], now: Callable[[], float]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = now()
        call()
        seconds.append(now() - started)
    return statistics.median(seconds)

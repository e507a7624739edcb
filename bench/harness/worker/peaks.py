"""Measures the peak rates of a device, which are the roof of its roofline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from bench.devices import Session, clocks
from bench.harness.worker.timing import timed_call

PEAK_S = 0.4  # for each size of matrix, and for the copy

Call = Callable[[], object]


class PeakRates(NamedTuple):
    """The highest measured rates: multiply-accumulates per second and bytes per second."""

    macs_per_s: float
    bytes_per_s: float


def peaks(session: Session, dtype: torch.dtype) -> PeakRates:
    """Measure the peak rates of the device with matrix products and a copy.

    MAC/s = max over side lengths n of n^3 / (fastest time of an n x n product in `dtype`). The
    lengths that follow a product of more than PEAK_S are left out: without kernels for `dtype`,
    they would take minutes and be no faster.
    Byte/s = 2 * copied bytes / (fastest time of the copy): each byte is read and written.
    """
    generator = torch.Generator().manual_seed(0)
    rates = []
    for side in session.peak_work.sides:
        factor = torch.randn(side, side, generator=generator).to(session.torch_device, dtype)
        seconds = _fastest_s(functools.partial(torch.matmul, factor, factor), session)
        rates.append(side**3 / seconds)
        if seconds > PEAK_S:
            break
    size = session.peak_work.copied_bytes
    source = torch.ones(size // 4, device=session.torch_device)
    target = torch.empty_like(source)
    return PeakRates(max(rates), 2 * size / _fastest_s(lambda: target.copy_(source), session))


def _fastest_s(call: Call, session: Session) -> float:
    """Return the shortest time of all calls within PEAK_S seconds; at least two calls are made."""
    until = clocks.monotonic() + PEAK_S
    best = timed_call(call, session.now)
    while True:
        best = min(best, timed_call(call, session.now))
        if clocks.monotonic() > until:
            return best

"""What a device reaches at best: the roof of its roofline."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from bench.devices import Session
from bench.harness.worker.timing import timed_call

PEAK_S = 0.4  # for each of the products and the copy

Call = Callable[[], object]


class Reached(NamedTuple):
    """Multiply-accumulates and bytes a second, at best."""

    macs_per_s: float
    bytes_per_s: float


def peaks(session: Session, dtype: torch.dtype) -> Reached:
    """What matrix products of some sizes and a copy reach; its bytes are read and written."""
    generator = torch.Generator().manual_seed(0)
    rates = []
    for side in session.peak_work.sides:
        factor = torch.randn(side, side, generator=generator).to(session.torch_device, dtype)
        rates.append(side**3 / _best_s(functools.partial(torch.matmul, factor, factor), session))
    size = session.peak_work.copied_bytes
    source = torch.ones(size // 4, device=session.torch_device)
    target = torch.empty_like(source)
    return Reached(max(rates), 2 * size / _best_s(lambda: target.copy_(source), session))


def _best_s(call: Call, session: Session) -> float:
    """The fastest of the calls that fit into PEAK_S, of two at least."""
    until = time.monotonic() + PEAK_S
    best = timed_call(call, session.now)
    while True:
        best = min(best, timed_call(call, session.now))
        if time.monotonic() > until:
            return best

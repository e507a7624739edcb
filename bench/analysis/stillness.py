"""Blocks in which the process stood still: stopped by a signal, a debugger, or a slow disk."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from bench.records import Measurement

SHARE = 0.10  # of the block
LEAST_S = 0.05
LONG = 1.5  # a sample is long if it took more than this many times the median


class Stall(NamedTuple):
    """The process stood still for `seconds` in block number `block` (from 1)."""

    block: int
    seconds: float


def stalls(record: Measurement) -> Iterator[Stall]:
    """The blocks in which the process stood still for more than SHARE and LEAST_S.

    seconds = min(idle - own, excess). `idle` is the time in which no thread computed or waited for
    a CPU. `own` is the idle time that the network has in every block, as it may sleep in each call:
    the lowest idle time of a sample in any block * samples. `excess` is what the long samples took
    beyond the median of the round, as a stall lies in few samples. A sample is the mean of
    `calls_per_sample` calls.
    """
    idle = record.conditions.idle_s if record.conditions else []
    if len(idle) != len(record.block_sizes):
        return
    typical_s = statistics.median(record.samples_s)
    of_samples = [each / size for each, size in zip(idle, record.block_sizes, strict=True)]
    own_s = min(of_samples) if len(of_samples) > 1 else 0.0
    for number, (block, idle_s) in enumerate(zip(record.blocks, idle, strict=True), 1):
        excess_s = sum(each - typical_s for each in block if each > LONG * typical_s)
        seconds = min(idle_s - own_s * len(block), excess_s * record.calls_per_sample)
        if seconds > max(LEAST_S, SHARE * sum(block) * record.calls_per_sample):
            yield Stall(number, seconds)

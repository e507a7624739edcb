"""Blocks in which the process stood still: stopped by a signal, a debugger, or a slow disk."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.records import Measurement

SHARE = 0.10  # of the block
LEAST_S = 0.05
LONG = 1.5  # a sample is long if it took more than this many times the median


class Stall(NamedTuple):
    """The process stood still for `seconds` in block number `block` (from 1)."""

    block: int
    seconds: float


class Usual(NamedTuple):
    """What is usual for a case.

    `typical_s` are the seconds of a sample: the median of the rounds' medians, the lower one of
    two. `own_s` is the lowest idle time of a sample in any block, `own_share` the lowest idle share
    of any block. Where only one block is known, it tells nothing: `own_s` is 0, `own_share` 1.
    """

    typical_s: float
    own_s: float = 0.0
    own_share: float = 1.0


def usual_of(rounds: Sequence[Measurement]) -> Usual:
    """What is usual in the rounds of a case, of which there is at least one."""
    typical_s = statistics.median_low([statistics.median(each.samples_s) for each in rounds])
    own_s, shares = list[float](), list[float]()
    for record in rounds:
        for block, idle_s in _idle_blocks(record):
            own_s.append(idle_s / len(block))
            shares.append(idle_s / (sum(block) * record.calls_per_sample or 1.0))
    return Usual(typical_s, min(own_s), min(shares)) if len(own_s) > 1 else Usual(typical_s)


def stalls(record: Measurement, usual: Usual | None = None) -> Iterator[Stall]:
    """The blocks in which the process stood still for more than SHARE and LEAST_S.

    seconds = max(min(idle - own, excess of long samples), min(idle - own share, excess)). `idle` is
    the time in which no thread computed or waited for a CPU. `own` is the idle time that the
    network has in every block, as it may sleep in each call: `usual.own_s` * samples. The idle time
    of a network whose threads take turns grows with its calls, so where no sample is long, its own
    share counts: `usual.own_share` * the seconds of the block. `excess` is what samples took beyond
    the median of the round, or beyond `usual.typical_s` if that is less: a slow case may have a
    single sample in a round. Without `usual`, it is that of the round alone. A sample is the mean
    of `calls_per_sample` calls.
    """
    if record.conditions is None or max(record.conditions.idle_s, default=0.0) <= LEAST_S:
        return
    usual = usual or usual_of([record])
    calls = record.calls_per_sample
    typical_s = min(statistics.median(record.samples_s), usual.typical_s)
    for number, (block, idle_s) in enumerate(_idle_blocks(record), 1):
        block_s = sum(block) * calls
        excess_s = sum(max(each - typical_s, 0.0) for each in block) * calls
        long_s = sum(each - typical_s for each in block if each > LONG * typical_s) * calls
        seconds = max(
            min(idle_s - usual.own_s * len(block), long_s),
            min(idle_s - usual.own_share * block_s, excess_s),
        )
        if seconds > max(LEAST_S, SHARE * block_s):
            yield Stall(number, seconds)


def _idle_blocks(record: Measurement) -> list[tuple[list[float], float]]:
    """The samples and the idle seconds of each block; empty where nobody read the idle time."""
    idle = record.conditions.idle_s if record.conditions else []
    blocks = list(record.blocks)
    return list(zip(blocks, idle, strict=True)) if len(idle) == len(blocks) else []

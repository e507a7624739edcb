"""The line on memory: the session's peak against torch's own count. Needs a fresh process."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from bench.diagnostics.hardware.instruments import Instruments
from bench.diagnostics.hardware.line import Line, impossible, judged
from bench.text import MIB

BLOCK_BYTES = 256 * MIB
MEMORY_TOLERATED = 0.03
MEMORY = "memory against torch's own count"


def lines(instruments: Instruments) -> Iterator[Line]:
    """Yield the line."""
    yield memory(instruments)


def memory(instruments: Instruments) -> Line:
    """Allocate a known block; the session's peak must grow by what torch counts.

    Where torch does not count, the size of the block takes its place.
    """
    session = instruments.session
    gc.collect()
    session.reset_peak_memory()
    before, counted_before = session.memory().peak, instruments.counted_bytes()
    block = instruments.allocate(BLOCK_BYTES)
    after, counted_after = session.memory().peak, instruments.counted_bytes()
    del block
    if before is None or after is None:
        return impossible(MEMORY, "the session cannot read the memory in use")
    by_torch = counted_before is not None and counted_after is not None
    expected = (counted_after or 0) - (counted_before or 0) if by_torch else BLOCK_BYTES
    grown = after - before
    known = "torch counts" if by_torch else "torch does not count; the block has"
    return judged(
        MEMORY,
        abs(grown - expected) <= MEMORY_TOLERATED * BLOCK_BYTES
        and abs(expected - BLOCK_BYTES) <= MEMORY_TOLERATED * BLOCK_BYTES,
        seen=f"peak grew by {grown / MIB:.1f} MiB, {known} {expected / MIB:.1f} MiB",
        limit=f"within {100 * MEMORY_TOLERATED:g} % of {BLOCK_BYTES / MIB:.0f} MiB",
        why="the session's peak is not what was allocated",
        raw={"grown": grown, "expected": expected, "block": BLOCK_BYTES},
    )

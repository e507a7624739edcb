"""Waits for a quiet machine before blocks, and tells which rounds were disturbed all the same.

Both go by signals that do not contain the samples of the case: the calibration kernels, and the
counters of the machine. The limits are those of the verdict, and a run does not change them.
"""

from __future__ import annotations

from bench.analysis.reasons import Observation
from bench.analysis.verdict import (
    COMPUTE_SLOWER,
    MEMORY_SLOWER,
    Machine,
    Quiet,
    judge,
    quietest,
)
from bench.devices import clocks
from bench.harness.protocol.messages import Block, Wait
from bench.records import Case, Measurement

FEWEST_BLOCKS = 5  # whose kernels tell what a quiet machine is
MOST_S = 10.0  # that one block waits
# What other programs do to a round, by signals that are no samples of the case.
BY_OTHERS = {
    Observation.OTHERS,
    Observation.STOLEN,
    Observation.THROTTLED,
    Observation.SLOW_COMPUTE,
    Observation.SLOW_MEMORY,
}


class Patience:
    """How long blocks may wait: at most `share` of the seconds since the run began."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._began_s = clocks.monotonic()
        self._rested_s = 0.0
        self._kernels: dict[tuple[object, ...], list[Quiet]] = {}  # by `Case.of_kernels`

    def wait(self, case: Case) -> Wait | None:
        """What the next block of `case` waits for; None where nothing is left, or known."""
        left_s = self._share * (clocks.monotonic() - self._began_s) - self._rested_s
        if left_s <= 0 or (quiet := self._quiet(case)) is None:  # it sorts all kernels
            return None
        compute_s, memory_s = COMPUTE_SLOWER[0] * quiet.compute_s, MEMORY_SLOWER[0] * quiet.memory_s
        return Wait(compute_s, memory_s, min(left_s, MOST_S))

    def timed(self, case: Case, block: Block) -> None:
        """Count the seconds that a block of `case` waited, and remember its kernels."""
        self._rested_s += block.rested_s
        alike = self._kernels.setdefault(case.of_kernels, [])
        alike.append(Quiet(block.compute_s, block.memory_s))

    def spoilt_by(self, made: Measurement) -> list[str]:
        """Say what other programs did to a round that is to be repeated; [] for other rounds."""
        if not self._share:
            return []
        reasons = judge(made, Machine(self._quiet(made.case))).reasons
        return [
            reason.text
            for reason in reasons
            if reason.observation in BY_OTHERS and reason.level != "VALID"
        ]

    def _quiet(self, case: Case) -> Quiet | None:
        alike = self._kernels.get(case.of_kernels, [])
        return quietest(alike) if len(alike) >= FEWEST_BLOCKS else None

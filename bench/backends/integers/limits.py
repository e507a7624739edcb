"""What a network may lose where it is brought to 8-bit integers, whichever tool does it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.backends.program import ExportError

if TYPE_CHECKING:
    from torch import Tensor

# A range that is too small or too large by a large factor leaves less.
LEAST_RATIO = 10.0  # signal / noise, as powers, of a value before and after it is quantised
ROUNDING = 0.5001  # of a step: the largest error of a weight
CHECKED_CALLS = 4
OTHER_GRID = "it is read with another scale or zero"
UNKNOWN = "no value of the network belongs to it"
NOT_ROUNDED = "a weight is not rounded to its grid"
NOTHING = "no operator of the network can be quantised"


def wrong(name: str, reason: str) -> ExportError:
    """Return the error of a value that is not that of the network."""
    return ExportError(
        f"the value {name} is not that of the network after it was quantised: {reason}"
    )


def checked_calls(calls: Sequence[Sequence[Tensor]]) -> Sequence[Sequence[Tensor]]:
    """Return those calls of a calibration, at equal steps, on which its result is checked."""
    return calls[:: max(len(calls) // CHECKED_CALLS, 1)]


class Power(NamedTuple):
    """The power of a value, and that of its error: sums of squares."""

    name: str
    signal: float
    noise: float

    def check(self) -> None:
        """Raise ExportError if rounding leaves too little of the value."""
        ratio = self.signal / self.noise if self.noise else math.inf
        if not ratio >= LEAST_RATIO:
            raise wrong(self.name, f"signal / noise is {ratio:.2g}, not {LEAST_RATIO:g}")

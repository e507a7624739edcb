"""What a claim is, and in which unit its numbers are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.analysis.stats import MARGIN, Estimate
from bench.report.claims.quantities import Quantity
from bench.text import significant

Kind = Literal["gpu", "cpu", "edge", "any", "none"]
Rule = Literal["all", "most", "mean"]
KINDS = {"gpu": "GPU", "cpu": "CPU", "edge": "edge board", "any": "device"}
BEYOND = 1 + MARGIN  # a ratio that is of consequence


class Scale(NamedTuple):
    """How a quantity is shown: `convert`ed, with or without its sign, in this unit."""

    convert: Callable[[float], float]
    unit: str
    signed: bool = False

    def span(self, values: Sequence[float]) -> str:
        """One number, or the least and the largest: `−51 to −38 %`."""
        low, *_, high = sorted([self.convert(value) for value in values] * 2)
        first, last = self._number(low), self._number(high)
        return (first if first == last else f"{first} to {last}") + self.unit

    def interval(self, estimates: Sequence[Estimate]) -> str:
        """The outermost ends: `[−51, −38]`."""
        ends = [self.convert(end) for each in estimates for end in (each.low, each.high)]
        return f"[{self._number(min(ends))}, {self._number(max(ends))}]"

    def _number(self, value: float) -> str:
        if not self.signed:
            return significant(value).replace("-", "−")
        decimals = 0 if abs(value) >= 9.95 else 1
        return f"{value:+.{decimals}f}".replace("-", "−")


TIMES = Scale(lambda ratio: ratio, "×")
FASTER = Scale(lambda ratio: 100 * (ratio - 1), " %", signed=True)  # how much faster
CHANGE = Scale(lambda ratio: 100 * (1 / ratio - 1), " %", signed=True)  # of the other way round
SHARE = Scale(lambda share: 100 * share, " %")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of the paper about efficiency.

    `where` it stands; `said` is its number or words; `kind` the device that it is about (`any`
    where that does not matter, `none` where none is needed). Its `quantities` are judged one by
    one and all must hold, or `most`; or their `mean` is judged. `size` is the number of the text
    as a quantity, None where it has none: then, if `sized`, each must reach what the paper's table
    has of it. `edge` is what a quantity must exceed to be of consequence. `only_refutes` marks
    quantities that would hold for other reasons too: then no number bears the claim out. A `tally`
    is shown by how many hold. `note` is for the reader: the criterion, and what to mind.
    """

    title: str
    where: str
    said: str
    kind: Kind
    quantities: Sequence[Quantity]
    scale: Scale = TIMES
    rule: Rule = "all"
    size: float | None = None
    sized: bool = True
    edge: float = BEYOND
    only_refutes: bool = False
    tally: bool = False
    note: str = ""

    def size_of(self, quantity: Quantity) -> float | None:
        """What the quantity must reach beyond the edge; None where any effect will do."""
        if self.size is not None or not self.sized:
            return self.size
        reported = quantity.reported()
        return reported if reported is not None and reported > self.edge else None

"""The type of a claim, and the units in which its numbers are printed."""

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
BEYOND = 1 + MARGIN  # a smaller ratio counts as no difference


class Scale(NamedTuple):
    """How a quantity is printed: `convert` is applied, then the sign (optional) and the unit."""

    convert: Callable[[float], float]
    unit: str
    signed: bool = False

    def span(self, values: Sequence[float]) -> str:
        """The only number, or the smallest and the largest: `−51 to −38 %`."""
        low, *_, high = sorted([self.convert(value) for value in values] * 2)
        first, last = self._number(low), self._number(high)
        return (first if first == last else f"{first} to {last}") + self.unit

    def interval(self, estimates: Sequence[Estimate]) -> str:
        """The smallest lower end and the largest upper end: `[−51, −38]`."""
        ends = [self.convert(end) for each in estimates for end in (each.low, each.high)]
        return f"[{self._number(min(ends))}, {self._number(max(ends))}]"

    def _number(self, value: float) -> str:
        if not self.signed:
            return significant(value).replace("-", "−")
        decimals = 0 if abs(value) >= 9.95 else 1
        return f"{value:+.{decimals}f}".replace("-", "−")


TIMES = Scale(lambda ratio: ratio, "×")
FASTER = Scale(lambda ratio: 100 * (ratio - 1), " %", signed=True)  # speed-up
CHANGE = Scale(lambda ratio: 100 * (1 / ratio - 1), " %", signed=True)  # after / before − 1
SHARE = Scale(lambda share: 100 * share, " %")


class Quote(NamedTuple):
    """The paper's own sentence or part of it, and the section where it stands."""

    section: str
    words: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A statement about efficiency that the paper makes, or that we derived from its tables.

    `number`: never changes and is never used again; a new claim gets the next free one. `quote`:
    the paper's sentence; None if the statement is ours. `where`: the sections and tables. `said`:
    the paper's number or words. `kind`: the kind of device that the claim is about; `any` for every
    kind, `none` if the claim needs no device.

    `rule`: `all` quantities must hold, or `most` of them, or their `mean` must. A quantity holds
    if its whole interval is above `edge`. `size`: the number in the text, converted to the
    quantity's unit. If `size` is None and `sized` is true, each quantity must also reach its value
    in the paper's table.

    `only_refutes`: a quantity above the edge has other possible causes, so it can refute the claim
    but not confirm it. `tally`: the page shows how many quantities hold instead of their values.
    `note`: the criterion and caveats, for the reader. `untested`: what would test the claim, if
    nothing that we measure can; such a claim has no quantities and gets no other verdict.
    """

    number: int
    title: str
    quote: Quote | None = None
    where: str
    said: str
    kind: Kind
    quantities: Sequence[Quantity] = ()
    scale: Scale = TIMES
    rule: Rule = "all"
    size: float | None = None
    sized: bool = True
    edge: float = BEYOND
    only_refutes: bool = False
    tally: bool = False
    note: str = ""
    untested: str = ""

    def size_of(self, quantity: Quantity) -> float | None:
        """The size that the quantity must reach; None if any value above the edge is enough."""
        if self.size is not None or not self.sized:
            return self.size
        reported = quantity.reported()
        return reported if reported is not None and reported > self.edge else None

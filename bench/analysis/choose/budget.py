"""A budget: limits on quantities, the setting they hold in, and the objective that orders."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from bench.analysis.choose.figures import LATENCY, OBJECTIVES, QUANTITIES, TOP1, Quantity
from bench.errors import UsageError, unknown
from bench.paper.accuracy import DATASETS, IMAGENET

MICRO = str.maketrans("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([^\W\d_%]*|%)")
TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
WATTS = {"mW": 1e-3, "W": 1.0}
PER_CENT = {"": 1.0, "%": 1.0}
UNITS: dict[str, Mapping[str, float]] = {
    "--max-latency": TIMES,
    "--max-load": TIMES,
    "--max-memory": BYTES,
    "--max-power": WATTS,
    TOP1.flag: PER_CENT,
}
LEAST_TOP1 = 1.0  # below, it is a share and no per cent
EXAMPLES = {
    "--max-latency": "20ms, or 30ms:p95",
    "--max-load": "2s",
    "--max-memory": "300MB",
    "--max-power": "15W",
    TOP1.flag: "80",
}


class Limit(msgspec.Struct, frozen=True):
    """The largest value of a quantity that fits, the smallest of top-1, in SI units or per cent."""

    quantity: str
    bound: float

    @property
    def of(self) -> Quantity:
        """The quantity."""
        return QUANTITIES[self.quantity]

    @property
    def amount(self) -> str:
        """`20 ms`, with all digits that were given."""
        return f"{self.bound / self.of.scale:.6g} {self.of.unit}"

    @property
    def text(self) -> str:
        """`latency at most 20 ms`."""
        return f"{self.of.title} {'at least' if self.of.at_least else 'at most'} {self.amount}"


class Budget(msgspec.Struct, frozen=True):
    """What a network must keep to, at one batch and size of an image, and what orders networks.

    `size` is the resolution in pixels, or the shape of one image. `dataset` is that of the top-1.
    """

    limits: tuple[Limit, ...]
    objective: str = LATENCY.name
    batch: int = 1
    size: str = "224"
    dataset: str = IMAGENET

    @property
    def needs_top1(self) -> bool:
        """Whether it asks for an accuracy."""
        return TOP1.name in (self.objective, *(limit.quantity for limit in self.limits))

    @property
    def text(self) -> str:
        """`batch 1, latency at most 20 ms, top-1 at least 80 % on ImageNet-1K; by latency`."""
        words = [f"batch {self.batch}", *(limit.text for limit in self.limits)]
        where = f" on {DATASETS.get(self.dataset, self.dataset)}" if self.needs_top1 else ""
        return f"{', '.join(words)}{where}; by {QUANTITIES[self.objective].title}"


def limits(given: Sequence[tuple[str, str]]) -> tuple[Limit, ...]:
    """The limits of pairs of a flag and its text: `("--max-latency", "20ms:p95")`.

    Raises UsageError for a text that is no amount with a unit, and for limits that contradict each
    other.
    """
    found = tuple(_limit(flag, text) for flag, text in given)
    for one, other in itertools.combinations(found, 2):
        _check_pair(one, other)
    return found


def objective(name: str) -> str:
    """Return the name of an objective. Raises UsageError for another name."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return name


def _limit(flag: str, text: str) -> Limit:
    amount, colon, percentile = text.partition(":")
    found = NUMBER_AND_UNIT.fullmatch(amount.strip().translate(MICRO))
    scale = _scale(flag, found[2]) if found else None
    if found is None or scale is None:
        named = " or ".join(dict.fromkeys(unit for unit in UNITS[flag] if unit))
        has_none = found is not None and not found[2]
        problem = "has no unit" if has_none else f"is not a number with a unit: {named}"
        raise UsageError(f"{flag} {text} {problem}", f"For example: {flag} {EXAMPLES[flag]}")
    own = [each for each in QUANTITIES.values() if each.flag == flag]
    name = percentile if colon else own[0].name
    name = LATENCY.name if name == "p50" and flag == LATENCY.flag else name
    if name not in [each.name for each in own] or (colon and flag != LATENCY.flag):
        raise UsageError(
            f"{flag} {text} has no known percentile after the colon",
            f"For example: {flag} {EXAMPLES[flag]}",
        )
    bound = float(found[1]) * scale
    highest = 100.0 if name == TOP1.name else math.inf
    if not 0 < bound <= highest or math.isinf(bound):
        most = f" and at most {highest:g}" if math.isfinite(highest) else ""
        raise UsageError(f"{flag} {text} must be above 0{most}", f"For example: {EXAMPLES[flag]}")
    if name == TOP1.name and bound < LEAST_TOP1:
        raise UsageError(f"{flag} {text} is less than 1 %", f"Give per cent: {flag} 80")
    return Limit(name, bound)


def _scale(flag: str, unit: str) -> float | None:
    """How much a unit is in SI units. Watts have a case: mW is no MW."""
    known = UNITS[flag]
    return known.get(unit) if known is WATTS else known.get(unit.lower())


def _check_pair(one: Limit, other: Limit) -> None:
    """Raise UsageError for two limits on one quantity, and for one that makes another useless."""
    if one.quantity == other.quantity:
        raise UsageError(
            f"the budget has two limits: {one.text}, and {other.text}", "Leave one of them."
        )
    if one.of.share is None or other.of.share is None:
        return
    low, high = sorted((one, other), key=lambda limit: limit.of.share or 0.0)
    if high.bound < low.bound:
        raise UsageError(
            f"one limit makes another useless: {high.text}, and {low.text}",
            f"A higher percentile is never below a lower one. Leave out: {low.text}.",
        )

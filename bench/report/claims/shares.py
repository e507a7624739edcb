"""The quantities of claims about Figure 5: shares of latency, and utilisation, from profiles."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Literal

import msgspec

from bench.analysis import stats
from bench.analysis.profile.summary import by_term, together
from bench.analysis.stats import FEWEST_PROCESSES
from bench.records import Category, Profile
from bench.report.claims.evidence import Evidence, Found, Place, missing, of_pairs

FEW = "too few processes were profiled together"
COUNTERS = {"sampled": "the driver's counter", "sm_fill": "multiprocessors filled"}


class Share(msgspec.Struct, frozen=True):
    """time(category) / latency of a network.

    With `without`, a form: (time(category) − time(category in that form)) / latency.
    """

    place: Place
    category: str
    without: str = ""

    @property
    def name(self) -> str:
        """For example `ConvNeXt-T, layer norm`."""
        beyond = f" minus {self._other.name}" if self.without else ""
        return f"{self.place.name}, {self.category}{beyond}"

    def reported(self) -> float | None:
        """None: Figure 5 prints no numbers."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The geometric mean of the share over profiled processes, as of a ratio.

        A difference of two networks may be negative, so it has the mean and its t interval.
        """
        mine = evidence.profiled(self.place)
        theirs = mine
        if self.without:
            theirs = evidence.profiled(self._other)
        if mine.why or theirs.why:
            return missing(mine.why, theirs.why)
        shares = [
            (self._seconds(one) - (self._seconds(other) if self.without else 0.0))
            / one.waterfall.plain_s
            for one, other in together(mine.rounds, theirs.rounds)
        ]
        doubted = mine.doubted or theirs.doubted
        if not self.without and all(shares):
            return of_pairs(list(map(math.log, shares)), FEW, doubted=doubted)
        return Found(
            stats.mean_interval(shares),
            stats.mean_of_known(shares),
            "" if len(shares) >= FEWEST_PROCESSES else FEW,
            doubted,
            rounds=len(shares),
        )

    def _seconds(self, profile: Profile) -> float:
        return by_term(profile)[self.category]

    @property
    def _other(self) -> Place:
        return self.place._replace(form=self.without)


class Work(msgspec.Struct, frozen=True):
    """time(before) / time(after) of the operators of some categories together."""

    before: Place
    after: Place
    categories: tuple[Category, ...]

    @property
    def name(self) -> str:
        """Numerator / denominator, and the categories."""
        return f"{self.before.name} / {self.after.name}, {' + '.join(self.categories)}"

    def reported(self) -> float | None:
        """None: Figure 5 prints no numbers."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The geometric mean of the ratio over pairs of processes of the same round."""
        return _ratio(evidence, self, self._seconds, operator.truediv, FEW)

    def _seconds(self, profile: Profile) -> float:
        seconds = by_term(profile)
        return sum(seconds[category] for category in self.categories)


class Gauge(msgspec.Struct, frozen=True):
    """GPU utilisation after / before, by one of the two COUNTERS."""

    before: Place
    after: Place
    counter: Literal["sampled", "sm_fill"]

    @property
    def name(self) -> str:
        """Numerator / denominator, and the counter."""
        return f"{self.after.name} / {self.before.name}, {COUNTERS[self.counter]}"

    def reported(self) -> float | None:
        """None: Figure 5 prints no numbers."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The geometric mean of the ratio over pairs of processes of the same round."""
        none = "its profiles have no utilisation of a GPU"
        return _ratio(evidence, self, self._busy, lambda before, after: after / before, none)

    def _busy(self, profile: Profile) -> float | None:
        busy: float | None = getattr(profile.utilisation, self.counter)
        return busy


def _ratio(
    evidence: Evidence,
    pair: Work | Gauge,
    value: Callable[[Profile], float | None],
    ratio: Callable[[float, float], float],
    why: str,
) -> Found:
    """The geometric mean of ratio(value before, value after) over processes of the same round.

    `why` says what is missing where too few pairs have both values.
    """
    before, after = evidence.profiled(pair.before), evidence.profiled(pair.after)
    if before.why or after.why:
        return missing(before.why, after.why)
    both = [(value(one), value(other)) for one, other in together(before.rounds, after.rounds)]
    logs = [math.log(ratio(one, other)) for one, other in both if one and other]
    return of_pairs(logs, why, doubted=before.doubted or after.doubted)

"""What claims are about: each can say what the paper's tables print of it, and what we found.

All are ratios or shares that the claim says are large: above 1 the slower is slower, the branchy
one costs more, as claimed. So one rule judges them all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from bench import paper
from bench.analysis.ratio import compare
from bench.models import naming
from bench.report.claims.evidence import (
    PRECISION,
    Evidence,
    Found,
    Place,
    exactly,
    missing,
    of_pairs,
    paired,
)

FEWEST_FOR_SPREAD = 5  # samples of a process, for its standard deviation to mean anything
PRINTED = {"params": "params_m", "macs": "gmacs"}
COUNTS = {"params": "parameters", "macs": "MACs"}


class Quantity(Protocol):
    """One number of a claim."""

    @property
    def name(self) -> str:
        """What it is of."""

    def reported(self) -> float | None:
        """From the paper's tables; None where they do not have it."""

    def ours(self, evidence: Evidence) -> Found:
        """From our records."""


class Ratio(msgspec.Struct, frozen=True):
    """latency(slow) / latency(fast) of one table; beyond batch 1 throughput(fast) / (slow)."""

    slow: Place
    fast: Place
    table: int = 4
    device: str = "a100"

    @property
    def name(self) -> str:
        """`ResNet50 / RepNeXt-u3-T-sRep`: what is divided by what."""
        if self.slow.batch > 1:
            return f"{self.fast.name} / {self.slow.name}, img/s"
        return f"{self.slow.name} / {self.fast.name}"

    def reported(self) -> float | None:
        """Of the numbers as they are printed, which are all called fp32."""
        if {self.slow.precision, self.fast.precision} != {PRECISION}:
            return None
        rows = [
            paper.find(self.table, self.device, place.model, place.form)
            for place in (self.slow, self.fast)
        ]
        if self.slow.batch > 1:
            slow, fast = (row.throughput_img_s if row else None for row in rows)
            return fast / slow if slow and fast else None
        slow, fast = (row.latency_ms if row else None for row in rows)
        return slow / fast if slow and fast else None

    def ours(self, evidence: Evidence) -> Found:
        """By `bench.analysis.ratio.compare`: of blocks that took turns wherever there are such."""
        slow, fast = evidence.timed(self.slow), evidence.timed(self.fast)
        if slow.why or fast.why:
            return missing(slow.why, fast.why)
        found = compare(fast.rounds, slow.rounds)
        one = max(len(slow.rounds), len(fast.rounds)) == 1
        return Found(
            found.ratio,
            found.ratio.point if found.ratio else found.candidate_s / found.base_s,
            "" if found.ratio else "one process has no interval" if one else found.note,
            slow.doubted or fast.doubted,
            apart=not found.rounds,
            rounds=found.rounds,
        )


class Spread(msgspec.Struct, frozen=True):
    """Standard deviation before / after; `relative`: of the coefficient of variation (std / mean).

    Ours: of each process, from as many samples of both, in pairs that took turns.
    """

    before: Place
    after: Place
    relative: bool
    table: int = 5

    @property
    def name(self) -> str:
        """What is divided by what."""
        return f"{self.before.name} / {self.after.name}"

    def reported(self) -> float | None:
        """Of the latencies that the table prints with a ±."""
        spreads = []
        for place in (self.before, self.after):
            row = paper.find(self.table, "a100", place.model, place.form)
            if row is None or not row.latency_ms or not row.latency_std_ms:
                return None
            spreads.append(row.latency_std_ms / (row.latency_ms if self.relative else 1.0))
        return spreads[0] / spreads[1]

    def ours(self, evidence: Evidence) -> Found:
        """Of each pair of processes the ratio; the interval is that of their geometric mean."""
        before, after = evidence.timed(self.before), evidence.timed(self.after)
        if before.why or after.why:
            return missing(before.why, after.why)
        pairs = paired(before.rounds, after.rounds)
        logs = [self._log_ratio(one.samples_s, other.samples_s) for one, other in pairs]
        known = [value for value in logs if value is not None]
        doubted = before.doubted or after.doubted
        return of_pairs(known, "too few processes that took turns", doubted=doubted)

    def _log_ratio(self, before: Sequence[float], after: Sequence[float]) -> float | None:
        count = min(len(before), len(after))
        if count < FEWEST_FOR_SPREAD:
            return None
        one, other = (self._spread(_thinned(samples, count)) for samples in (before, after))
        return math.log(one / other) if one and other else None

    def _spread(self, samples: Sequence[float]) -> float:
        return statistics.stdev(samples) / (statistics.fmean(samples) if self.relative else 1.0)


def _thinned(samples: Sequence[float], count: int) -> list[float]:
    """So many of the samples, evenly over time: a short series has a smaller spread."""
    return [samples[index * len(samples) // count] for index in range(count)]


def counted(model: str, form: str) -> paper.Counted:
    """What `bench.paper.census` counts of a form."""
    return next(row for row in paper.counted() if (row.model, row.form) == (model, form))


class Count(msgspec.Struct, frozen=True):
    """What a form has before / after, as `bench.paper.census` counts it at 224 pixels: exact."""

    model: str
    before: str
    after: str
    field: Literal["params", "macs"]
    table: int

    @property
    def name(self) -> str:
        """`RepNeXt-u3-T to RepNeXt-u3-T-sRep, MACs of Table 4`."""
        before, after = (naming.network_title(self.model, f) for f in (self.before, self.after))
        return f"{before} to {after}, {COUNTS[self.field]} of Table {self.table}"

    def reported(self) -> float | None:
        """Of the numbers that the table prints."""
        rows = [paper.find(self.table, "a100", self.model, f) for f in (self.before, self.after)]
        before, after = (getattr(row, PRINTED[self.field], None) for row in rows)
        return before / after if before and after else None

    def ours(self, evidence: Evidence) -> Found:
        """Of `bench/data/zoo.csv`; no device is asked."""
        before, after = (counted(self.model, form) for form in (self.before, self.after))
        return exactly(getattr(before, self.field) / getattr(after, self.field))


class Zeros(msgspec.Struct, frozen=True):
    """How many of the parameters that merging the shortcuts adds are exactly zero."""

    model: str

    @property
    def name(self) -> str:
        """The network."""
        return naming.network_title(self.model, "srep")

    def reported(self) -> float | None:
        """The tables have nothing of it."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """As the network's passport counted them when it was measured."""
        timed = evidence.timed(Place(self.model, "srep"))
        passport = next((r.passport for r in timed.rounds if r.passport), None)
        if passport is None:
            return missing(timed.why or "no zeros were counted")
        added = passport.params_after - counted(self.model, "rrep").params
        return exactly(passport.zero_share * passport.params_after / added)


class Same(msgspec.Struct, frozen=True):
    """1 where two are the same network once re-parameterised, by the hash of their structure."""

    one: Place
    other: Place
    table: int

    @property
    def name(self) -> str:
        """Both."""
        return f"{self.one.name} and {self.other.name}"

    def reported(self) -> float | None:
        """The ratio of their latencies."""
        return Ratio(self.one, self.other, self.table).reported()

    def ours(self, evidence: Evidence) -> Found:
        """0 where they are not."""
        one, other = evidence.timed(self.one), evidence.timed(self.other)
        if one.why or other.why:
            return missing(one.why, other.why)
        return exactly(float(one.rounds[-1].structure == other.rounds[-1].structure))

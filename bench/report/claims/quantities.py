"""The quantities of claims: each has a value in the paper's tables and a value in our records.

Each quantity is a ratio or a share that is large if the claim is right. For example, a ratio above
1 means that the network called slower is slower. So one rule judges all quantities.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from bench import paper
from bench.analysis.pairs import paired
from bench.analysis.ratio import compare
from bench.analysis.stats import FEWEST_PROCESSES, Estimate
from bench.records.workload import INFER
from bench.report.claims.evidence import (
    PRECISION,
    TOO_FEW,
    Evidence,
    Found,
    Place,
    exact_value,
    missing,
    of_pairs,
)
from bench.report.tables.layouts import LATENCY_BATCH, THROUGHPUT_BATCH

FEWEST_FOR_SPREAD = 5  # samples; a standard deviation of fewer is too noisy
PRINTED = {"params": "params_m", "macs": "gmacs"}
COUNTS = {"params": "parameters", "macs": "MACs"}


class Quantity(Protocol):
    """One number of a claim."""

    @property
    def name(self) -> str:
        """The networks, and the counter or field if there are several."""

    def reported(self) -> float | None:
        """The value from the paper's tables; None if they do not have it."""

    def ours(self, evidence: Evidence) -> Found:
        """The value from a device's records."""


class Ratio(msgspec.Struct, frozen=True):
    """latency(slow) / latency(fast); at batches above 1 throughput(fast) / throughput(slow)."""

    slow: Place
    fast: Place
    table: int = 4
    device: str = "a100"

    @property
    def name(self) -> str:
        """Numerator / denominator: `ResNet50 / RepNeXt-u3-T-sRep`."""
        if self.slow.batch > 1:
            return f"{self.fast.name} / {self.slow.name}, img/s"
        return f"{self.slow.name} / {self.fast.name}"

    def reported(self) -> float | None:
        """The ratio of the printed numbers; None for what the paper has no table of."""
        usual = (PRECISION, INFER)
        if {(each.precision, each.workload) for each in (self.slow, self.fast)} != {usual}:
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
        """The ratio by `bench.analysis.ratio.compare`, paired by alternating blocks if possible."""
        slow, fast = evidence.timed(self.slow), evidence.timed(self.fast)
        if slow.why or fast.why:
            return missing(slow.why, fast.why)
        found = compare(fast.rounds, slow.rounds)
        few = min(len(slow.rounds), len(fast.rounds)) < FEWEST_PROCESSES
        return Found(
            found.ratio,
            found.ratio.point if found.ratio else found.candidate_s / found.base_s,
            "" if found.ratio else TOO_FEW if few else found.note,
            slow.doubted or fast.doubted,
            apart=not found.rounds,
            rounds=found.rounds,
        )

    def batched(self) -> Ratio:
        """The same networks at the batch of throughputs, in the same order: fast over slow."""
        slow, fast = (each._replace(batch=THROUGHPUT_BATCH) for each in (self.slow, self.fast))
        return msgspec.structs.replace(self, slow=slow, fast=fast)


class AcrossBatches(msgspec.Struct, frozen=True):
    """How much faster than `slow` `fast` is at batch 1 / how much faster it is at batch 128.

    (latency(slow) / latency(fast)) / (throughput(fast) / throughput(slow)).
    """

    slow: Place
    fast: Place

    @property
    def name(self) -> str:
        """Numerator / denominator: `RepNeXt-u3-T-rRep / RepNeXt-u3-T-sRep, batch 1 / 128`."""
        return f"{self._latency.name}, batch {LATENCY_BATCH} / {THROUGHPUT_BATCH}"

    def reported(self) -> float | None:
        """The value from the latencies and throughputs that Table 4 prints."""
        latency, throughput = self._latency.reported(), self._latency.batched().reported()
        return latency / throughput if latency and throughput else None

    def ours(self, evidence: Evidence) -> Found:
        """The quotient of the two ratios. Its interval is [low₁ / high₂, high₁ / low₂].

        It is valid for any correlation of the errors; for independent errors it is too wide.
        """
        one = self._latency.ours(evidence)
        many = self._latency.batched().ours(evidence)
        both = one.estimate, many.estimate
        if both[0] is None or both[1] is None:
            point = one.point / many.point if one.point and many.point else None
            doubted = one.doubted or many.doubted
            return missing(one.why, many.why)._replace(point=point, doubted=doubted)
        quotient = both[0].point / both[1].point
        return Found(
            Estimate(quotient, both[0].low / both[1].high, both[0].high / both[1].low),
            quotient,
            doubted=one.doubted or many.doubted,
            apart=one.apart or many.apart,
            rounds=min(one.rounds, many.rounds),
        )

    @property
    def _latency(self) -> Ratio:
        return Ratio(self.slow, self.fast)


class Spread(msgspec.Struct, frozen=True):
    """std(before) / std(after) of a process's samples; `relative`: std / mean instead of std.

    Our value compares pairs of processes of the same round, with equally many samples of each.
    """

    before: Place
    after: Place
    relative: bool
    table: int = 5

    @property
    def name(self) -> str:
        """Numerator / denominator."""
        return f"{self.before.name} / {self.after.name}"

    def reported(self) -> float | None:
        """The ratio of the standard deviations that the table prints after ±."""
        spreads = []
        for place in (self.before, self.after):
            row = paper.find(self.table, "a100", place.model, place.form)
            if row is None or not row.latency_ms or not row.latency_std_ms:
                return None
            spreads.append(row.latency_std_ms / (row.latency_ms if self.relative else 1.0))
        return spreads[0] / spreads[1]

    def ours(self, evidence: Evidence) -> Found:
        """The geometric mean of the ratio over pairs of processes of the same round."""
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
    """`count` samples, evenly spaced in time.

    Taking the first `count` would cover less time, and a shorter time has less drift.
    """
    return [samples[index * len(samples) // count] for index in range(count)]


def counted(model: str, form: str) -> paper.Counted:
    """Parameters, MACs and weight bytes that `bench.paper.census` counted for a form."""
    return next(row for row in paper.counted() if (row.model, row.form) == (model, form))


class Count(msgspec.Struct, frozen=True):
    """Parameters or MACs, before / after, as `bench.paper.census` counts them at 224 pixels."""

    model: str
    before: str
    after: str
    field: Literal["params", "macs"]
    table: int

    @property
    def name(self) -> str:
        """For example `RepNeXt-u3-T to RepNeXt-u3-T-sRep, MACs of Table 4`."""
        before, after = (Place(self.model, form).name for form in (self.before, self.after))
        return f"{before} to {after}, {COUNTS[self.field]} of Table {self.table}"

    def reported(self) -> float | None:
        """The ratio of the numbers that the table prints."""
        rows = [paper.find(self.table, "a100", self.model, f) for f in (self.before, self.after)]
        before, after = (getattr(row, PRINTED[self.field], None) for row in rows)
        return before / after if before and after else None

    def ours(self, evidence: Evidence) -> Found:
        """The ratio from `bench/paper/data/zoo.csv`; exact, and independent of the device."""
        before, after = (counted(self.model, form) for form in (self.before, self.after))
        return exact_value(getattr(before, self.field) / getattr(after, self.field))


class Zeros(msgspec.Struct, frozen=True):
    """The share of exact zeros among the parameters that merging the shortcuts adds.

    zeros(sRep) / (params(sRep) − params(rRep)).
    """

    model: str

    @property
    def name(self) -> str:
        """The network, in form sRep."""
        return Place(self.model, "srep").name

    def reported(self) -> float | None:
        """None: the tables print no share of zeros."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The share from the counts in the measurement's passport."""
        timed = evidence.timed(Place(self.model, "srep"))
        passport = next((r.passport for r in timed.rounds if r.passport), None)
        if passport is None:
            return missing(timed.why or "no zeros were counted")
        added = passport.params_after - counted(self.model, "rrep").params
        return exact_value(passport.zero_share * passport.params_after / added)


class Same(msgspec.Struct, frozen=True):
    """1 if two networks have equal structure hashes after re-parameterisation, else 0."""

    one: Place
    other: Place
    table: int

    @property
    def name(self) -> str:
        """Both networks."""
        return f"{self.one.name} and {self.other.name}"

    def reported(self) -> float | None:
        """The ratio of their printed latencies."""
        return Ratio(self.one, self.other, self.table).reported()

    def ours(self, evidence: Evidence) -> Found:
        """Exactly 1.0 or 0.0, from the structure hash of the last round of each."""
        one, other = evidence.timed(self.one), evidence.timed(self.other)
        if one.why or other.why:
            return missing(one.why, other.why)
        return exact_value(float(one.rounds[-1].structure == other.rounds[-1].structure))

"""The quantities of claims about memory: the peak that a network holds, and the bytes it moves."""

from __future__ import annotations

import math

import msgspec

from bench import paper
from bench.analysis.pairs import paired
from bench.records import Cost
from bench.report.claims.evidence import (
    TOO_FEW,
    Evidence,
    Found,
    Place,
    exact_value,
    missing,
    of_pairs,
)
from bench.report.claims.quantities import counted
from bench.report.tables.layouts import LATENCY_BATCH


class Weights(msgspec.Struct, frozen=True):
    """Bytes of the weights, after / before, as `bench.paper.census` counts them."""

    model: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """For example `RepNeXt-u3-T-sRep / RepNeXt-u3-T-rRep`."""
        return f"{Place(self.model, self.after).name} / {Place(self.model, self.before).name}"

    def reported(self) -> float | None:
        """The ratio of the parameters that Table 4 prints."""
        before, after = (
            paper.find(4, "a100", self.model, form) for form in (self.before, self.after)
        )
        if before is None or after is None or not before.params_m or not after.params_m:
            return None
        return after.params_m / before.params_m

    def ours(self, evidence: Evidence) -> Found:
        """The ratio from `bench/paper/data/zoo.csv`; exact, and independent of the device."""
        before, after = (counted(self.model, form) for form in (self.before, self.after))
        return exact_value(after.weight_bytes / before.weight_bytes)


class Peak(msgspec.Struct, frozen=True):
    """Peak memory, before / after: the allocator's peak, with the weights or without.

    Without the weights it holds activations and workspace of libraries. A CPU is not used: its
    peak is the resident memory of the whole process, most of which is left from building the
    network.
    """

    model: str
    before: str
    after: str
    batch: int = LATENCY_BATCH
    weights: bool = False

    @property
    def name(self) -> str:
        """For example `RepNeXt-u3-T / RepNeXt-u3-T-rRep at batch 128`."""
        before, after = self._places
        return f"{before.name} / {after.name}" + f" at batch {self.batch}" * (self.batch > 1)

    def reported(self) -> float | None:
        """None: the paper prints no memory numbers."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The geometric mean of the ratio over pairs of processes of the same round."""
        before, after = (evidence.timed(place) for place in self._places)
        if before.why or after.why:
            return missing(before.why, after.why)
        both = [
            (self._bytes(one.cost), self._bytes(other.cost))
            for one, other in paired(before.rounds, after.rounds)
        ]
        logs = [math.log(one / other) for one, other in both if one and other]
        why = TOO_FEW if logs else "no allocator counted it, as on a CPU"
        return of_pairs(logs, why)

    @property
    def _places(self) -> tuple[Place, Place]:
        return Place(self.model, self.before, self.batch), Place(self.model, self.after, self.batch)

    def _bytes(self, cost: Cost) -> int | None:
        """Bytes of the peak; None without an allocator's count.

        Only an allocator reports reserved bytes, so their presence tells its count from a CPU's.
        """
        if None in (cost.peak_memory_bytes, cost.peak_reserved_bytes, cost.weight_bytes):
            return None
        excluded = 0 if self.weights else cost.weight_bytes or 0
        return max((cost.peak_memory_bytes or 0) - excluded, 0)


class Moved(msgspec.Struct, frozen=True):
    """Bytes that operators read and write for one image, before / after.

    `weights`: include the bytes of the weights, each read once.
    """

    model: str
    before: str
    after: str
    weights: bool

    @property
    def name(self) -> str:
        """For example `RepNeXt-u3-T-rRep / RepNeXt-u3-T-sRep, activations alone`."""
        before, after = self._places
        return f"{before.name} / {after.name}, " + (
            "weights and activations" if self.weights else "activations alone"
        )

    def reported(self) -> float | None:
        """None: the paper prints no memory numbers."""
        return None

    def ours(self, evidence: Evidence) -> Found:
        """The ratio from the shapes of the operators' inputs and outputs, so it is exact."""
        before, after = (evidence.profiled(place) for place in self._places)
        if before.why or after.why:
            return missing(before.why, after.why)
        rounds = (before.rounds[-1], after.rounds[-1])
        for profile, place in zip(rounds, self._places, strict=True):
            if sum(row.macs or 0 for row in profile.rows) != counted(place.model, place.form).macs:
                return missing(f"the profile of {place.name} lacks operators")
        one, other = (
            sum(row.bytes or 0 for row in profile.rows) - self._excluded(place)
            for profile, place in zip(rounds, self._places, strict=True)
        )
        return exact_value(one / other)

    def _excluded(self, place: Place) -> int:
        """Bytes to subtract: the weights, each read once, unless they count."""
        return 0 if self.weights else counted(place.model, place.form).weight_bytes

    @property
    def _places(self) -> tuple[Place, Place]:
        return Place(self.model, self.before), Place(self.model, self.after)

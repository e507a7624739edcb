"""What became of a claim: one rule for all of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.analysis.stats import Estimate
from bench.report.claims.claim import KINDS, Claim
from bench.report.claims.evidence import Evidence, Found, missing
from bench.report.devices import DeviceResults

Verdict = Literal["not reproduced", "not measured", "undecided", "same direction", "reproduced"]
VERDICTS: tuple[Verdict, ...] = (  # the least favourable first
    "not reproduced",
    "not measured",
    "undecided",
    "same direction",
    "reproduced",
)


class Part(NamedTuple):
    """A quantity of a claim: what the paper's tables have, its claimed size, and what we found."""

    name: str
    reported: float | None
    size: float | None
    found: Found
    verdict: Verdict


class OnDevice(msgspec.Struct, frozen=True):
    """A claim on one device, or counted on none: then `label` is None.

    `parts` are its quantities; of a mean `found` is that of all.
    """

    label: str | None
    kind: str
    parts: list[Part]
    found: Found | None
    verdict: Verdict

    @property
    def doubted(self) -> bool:
        """Whether an interval that was judged rests on a SUSPECT row."""
        return any(part.found.doubted for part in self.parts if part.found.estimate)

    @property
    def why(self) -> str:
        """Why it was not measured: the first reason."""
        reasons = list(dict.fromkeys(part.found.why for part in self.parts if part.found.why))
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return "".join(reasons[:1]) + more


class Judged(msgspec.Struct, frozen=True):
    """A claim and what became of it.

    `own` is whether the paper's own tables bear it out, None where they cannot. The `verdict` is
    that of the devices it is about, `why` the reason for `not measured`; it is `doubted` where it
    rests on SUSPECT rows.
    """

    claim: Claim
    own: bool | None
    devices: list[OnDevice]
    verdict: Verdict
    why: str = ""
    doubted: bool = False


def judge(claims: Iterable[Claim], devices: Sequence[DeviceResults]) -> list[Judged]:
    """All claims on all devices."""
    known = [(device, Evidence.of(device)) for device in devices]
    return [_judged(claim, known) for claim in claims]


def verdict_of(found: Found, edge: float, size: float | None) -> Verdict:
    """No verdict without an interval.

    Beyond the edge it is the claim's side, and reproduced where it reaches the size.
    """
    if found.estimate is None:
        return "not measured"
    _, low, high = found.estimate
    if low > edge:
        return "reproduced" if size is None or high >= size else "same direction"
    return "not reproduced" if high <= edge else "undecided"


def together(verdicts: Sequence[Verdict], *, most: bool) -> Verdict:
    """The least favourable; of `most` the least that more than half of them reach."""
    ranked = sorted(verdicts, key=VERDICTS.index)
    return ranked[(len(ranked) - 1) // 2 if most else 0]


def mean(parts: Sequence[Found]) -> Found:
    """The mean of several quantities, from the means of their intervals' ends.

    That holds however they err together, and is wider than it need be if they do not.
    """
    known = [part.estimate for part in parts if part.estimate]
    if len(known) < len(parts):
        return missing(f"{len(parts) - len(known)} of {len(parts)} networks have no interval")
    return Found(
        estimate=Estimate(*map(statistics.fmean, zip(*known, strict=True))),
        point=statistics.fmean(each.point for each in known),
        doubted=any(part.doubted for part in parts),
        apart=any(part.apart for part in parts),
        rounds=min(part.rounds for part in parts),
    )


def reported_of(claim: Claim) -> list[float]:
    """What the paper's tables have: of each quantity, or the mean of all."""
    values = [quantity.reported() for quantity in claim.quantities]
    known = [value for value in values if value is not None]
    return [statistics.fmean(known)] if claim.rule == "mean" else known


def holding(claim: Claim) -> list[bool]:
    """Whether each of these bears the claim out."""
    if claim.size is not None:
        return [value >= claim.size for value in reported_of(claim)]
    return [value > claim.edge for value in reported_of(claim)]


def _judged(claim: Claim, known: Sequence[tuple[DeviceResults, Evidence]]) -> Judged:
    holds = holding(claim)
    needed = len(holds) // 2 + 1 if claim.rule == "most" else len(holds)
    own = sum(holds) >= needed if holds else None
    own = None if own and claim.only_refutes else own
    found = list(_on_devices(claim, known))
    about = [each for each in found if claim.kind in (each.kind, "any", "none")]
    measured = [each for each in about if each.verdict != "not measured"]
    if measured:
        verdict = together([each.verdict for each in measured], most=False)
        doubted = any(each.doubted for each in measured)
        return Judged(claim, own, found, verdict, doubted=doubted)
    why = about[0].why if about else f"no {KINDS[claim.kind]} on record"
    return Judged(claim, own, found, "not measured", why)


def _on_devices(
    claim: Claim, known: Sequence[tuple[DeviceResults, Evidence]]
) -> Iterator[OnDevice]:
    if claim.kind == "none":
        yield _on_device(claim, None, "", Evidence({}, {}))
    else:
        for device, evidence in known:
            yield _on_device(claim, device.label, device.kind, evidence)


def _on_device(claim: Claim, label: str | None, kind: str, evidence: Evidence) -> OnDevice:
    parts = []
    for quantity in claim.quantities:
        found, size = quantity.ours(evidence), claim.size_of(quantity)
        verdict = verdict_of(found, claim.edge, size)
        if claim.only_refutes and verdict in ("reproduced", "same direction"):
            verdict = "undecided"
        parts.append(Part(quantity.name, quantity.reported(), size, found, verdict))
    if claim.rule == "mean":
        whole = mean([part.found for part in parts])
        return OnDevice(label, kind, parts, whole, verdict_of(whole, claim.edge, claim.size))
    overall = together([part.verdict for part in parts], most=claim.rule == "most")
    return OnDevice(label, kind, parts, None, overall)

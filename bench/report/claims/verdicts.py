"""The verdict of a claim, by one rule for all claims."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from bench.analysis.stats import Estimate
from bench.report.claims.claim import KINDS, Claim
from bench.report.claims.evidence import Evidence, Found, missing
from bench.report.devices import DeviceResults

Verdict = Literal[
    "not reproduced", "not tested", "not measured", "undecided", "same direction", "reproduced"
]
VERDICTS: tuple[Verdict, ...] = (  # the least favourable first
    "not reproduced",
    "not tested",
    "not measured",
    "undecided",
    "same direction",
    "reproduced",
)


class Part(NamedTuple):
    """A quantity of a claim: the paper's value, the claimed size, our value, and the verdict."""

    name: str
    reported: float | None
    size: float | None
    found: Found
    verdict: Verdict


class OnDevice(msgspec.Struct, frozen=True):
    """A claim on one device; `label` is None if the claim needs no device.

    `parts` are the quantities. `found` is their mean if the claim's rule is `mean`, else None.
    """

    label: str | None
    kind: str
    parts: list[Part]
    found: Found | None
    verdict: Verdict

    @property
    def doubted(self) -> bool:
        """Whether an interval behind the verdict uses a SUSPECT row."""
        return any(part.found.doubted for part in self.parts if part.found.estimate)

    @property
    def why(self) -> str:
        """The first reason for a missing interval, and the number of further reasons."""
        reasons = list(dict.fromkeys(part.found.why for part in self.parts if part.found.why))
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return "".join(reasons[:1]) + more


class ClaimResult(msgspec.Struct, frozen=True):
    """The result of a claim.

    `paper_agrees`: whether the paper's own tables support the claim, None if they cannot tell.
    `verdict`: the verdict on devices of the claim's kind; `not tested` if nothing that we measure
    can decide the claim. `why`: the reason for `not measured`.
    `doubted`: the verdict rests on SUSPECT rows.
    """

    claim: Claim
    paper_agrees: bool | None
    devices: list[OnDevice]
    verdict: Verdict
    why: str = ""
    doubted: bool = False


def judge(claims: Iterable[Claim], devices: Sequence[DeviceResults]) -> list[ClaimResult]:
    """The result of each claim on all devices."""
    known = [(device, Evidence.of(device)) for device in devices]
    return [_judged(claim, known) for claim in claims]


def verdict_of(found: Found, edge: float, size: float | None) -> Verdict:
    """The verdict of one quantity with the interval [low, high].

    low > edge: `reproduced` if there is no size, or if high >= size and low >= (edge + size) / 2,
    which is half of the claimed effect; else `same direction`. So a wide interval does not suffice.
    high <= edge: `not reproduced`. Otherwise `undecided`. No interval: `not measured`.
    """
    if found.estimate is None:
        return "not measured"
    _, low, high = found.estimate
    if low > edge:
        is_reached = size is None or (high >= size and low >= (edge + size) / 2)
        return "reproduced" if is_reached else "same direction"
    return "not reproduced" if high <= edge else "undecided"


def combined(verdicts: Sequence[Verdict], *, most: bool) -> Verdict:
    """The least favourable verdict; with `most`, the best verdict that more than half reach."""
    ranked = sorted(verdicts, key=VERDICTS.index)
    return ranked[(len(ranked) - 1) // 2 if most else 0]


def mean(parts: Sequence[Found]) -> Found:
    """The mean of several quantities: point = mean(points), interval = [mean(lows), mean(highs)].

    The interval is valid for any correlation of the errors; for independent errors it is too wide.
    No interval if a quantity has none, and no point if a quantity has none.
    """
    known = [part.estimate for part in parts if part.estimate]
    points = [part.point for part in parts if part.point is not None]
    lacking = len(parts) - len(known)
    why = f"{lacking} of {len(parts)} networks have no interval" if lacking else ""
    if len(points) < len(parts):
        return missing(why)
    return Found(
        estimate=None if lacking else Estimate(*map(statistics.fmean, zip(*known, strict=True))),
        point=statistics.fmean(points),
        why=why,
        doubted=any(part.doubted for part in parts),
        apart=any(part.apart for part in parts),
        rounds=min(part.rounds for part in parts),
    )


def reported_of(claim: Claim) -> list[float]:
    """The values from the paper's tables, one per quantity, or their mean if the rule is `mean`."""
    values = [quantity.reported() for quantity in claim.quantities]
    known = [value for value in values if value is not None]
    return [statistics.fmean(known)] if claim.rule == "mean" else known


def supported_by_paper(claim: Claim) -> list[bool]:
    """For each value of `reported_of`, whether it supports the claim."""
    if claim.size is not None:
        return [value >= claim.size for value in reported_of(claim)]
    return [value > claim.edge for value in reported_of(claim)]


def _judged(claim: Claim, known: Sequence[tuple[DeviceResults, Evidence]]) -> ClaimResult:
    if claim.untested:
        return ClaimResult(claim, None, [], "not tested")
    holds = supported_by_paper(claim)
    needed = len(holds) // 2 + 1 if claim.rule == "most" else len(holds)
    own = sum(holds) >= needed if holds else None
    own = None if own and claim.only_refutes else own
    found = list(_on_devices(claim, known))
    about = [each for each in found if claim.kind in (each.kind, "any", "none")]
    measured = [each for each in about if each.verdict != "not measured"]
    if measured:
        verdict = combined([each.verdict for each in measured], most=False)
        doubted = any(each.doubted for each in measured)
        return ClaimResult(claim, own, found, verdict, doubted=doubted)
    why = about[0].why if about else f"no {KINDS[claim.kind]} on record"
    return ClaimResult(claim, own, found, "not measured", why)


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
    overall = combined([part.verdict for part in parts], most=claim.rule == "most")
    return OnDevice(label, kind, parts, None, overall)

"""Text for the results of claims: table cells and lines below the table, not yet escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.claims.claim import Claim
from bench.report.claims.evidence import Found
from bench.report.claims.verdicts import (
    ClaimResult,
    OnDevice,
    Part,
    Verdict,
    reported_of,
    supported_by_paper,
)
from bench.text import NOT_MEASURED, NOTHING

SUSPECT = "†"
ELSEWHERE: dict[Verdict, str] = {  # on a device of another kind than the claim's
    "reproduced": "carries over",
    "same direction": "carries over in part",
    "not reproduced": "does not carry over",
}
TALLY: dict[Verdict, str] = {
    "reproduced": "yes",
    "not reproduced": "no",
    "undecided": "undecided",
    "not measured": "not measured",
}
OURS = "ours"  # whose statement it is, before the table that it was derived from
NAMED = 8  # quantities named in one line


def own_tables(judged: ClaimResult) -> str:
    """Whether the paper's own tables support the claim, and their values: `no: −51 to −35 %`."""
    claim, values = judged.claim, reported_of(judged.claim)
    if not values:
        return NOTHING
    answer = {True: "yes", False: "no", None: "no contradiction"}[judged.paper_agrees]
    if claim.tally:
        return f"{answer}: {sum(supported_by_paper(claim))} of {len(values)}"
    return f"{answer}: {claim.scale.span(values)}"


def where(claim: Claim) -> str:
    """Where the paper says it; `ours; Table 6` if we derived the statement from a table."""
    return claim.where if claim.quote else f"{OURS}; {claim.where}"


def sentence(claim: Claim) -> str:
    """The paper's sentence, such as `Sec. 5: “sacrifice throughput”.`, or that it is ours."""
    if claim.quote is None:
        return "This statement is ours."
    return f"{claim.quote.section}: “{claim.quote.words}”."


def device_cell(judged: ClaimResult, label: str) -> str:
    """The cell of the device with this label; the counted value if the claim needs no device."""
    if judged.claim.untested:
        return NOTHING
    found = next((each for each in judged.devices if each.label in (label, None)), None)
    return on_device(judged.claim, found) if found else NOT_MEASURED


def on_device(claim: Claim, found: OnDevice) -> str:
    """A cell such as `0.58× [0.55, 0.61] †, does not carry over`."""
    numbers = _tally(found.parts) if claim.tally else _numbers(claim, found)
    if found.verdict == "not measured":
        return NOT_MEASURED + (f" ({numbers})" if numbers else "")
    return f"{numbers}, {outcome(claim, found, found.verdict)}"


def outcome(claim: Claim, found: OnDevice, verdict: Verdict) -> str:
    """The verdict; on a device of another kind than the claim's, whether the claim carries over."""
    if claim.kind in (found.kind, "any", "none"):
        return verdict
    return ELSEWHERE.get(verdict, verdict)


def headline(judged: ClaimResult) -> str:
    """The verdict, with † if it rests on SUSPECT rows, or with the reason for `not measured`."""
    if judged.why:
        return f"{judged.verdict}: {judged.why}"
    return judged.verdict + f" {SUSPECT}" * judged.doubted


def details(claim: Claim, found: OnDevice) -> str:
    """The value of each quantity on one device; "" if the cell already shows everything.

    On a device of another kind than the claim's, missing values and tallies are not listed.
    """
    about = claim.kind in (found.kind, "any", "none")
    nothing = all(part.found.point is None for part in found.parts)
    if (len(found.parts) == 1 and not nothing) or (not about and (nothing or claim.tally)):
        return ""
    sentences = _tallied(claim, found) if claim.tally else _listed(claim, found)
    return "; ".join(sentences)


def _listed(claim: Claim, found: OnDevice) -> Iterator[str]:
    for part in found.parts:
        if part.found.point is not None:
            paper = "" if part.reported is None else f" (paper {claim.scale.span([part.reported])})"
            text = f"{part.name} {_number(claim, [part.found])}{paper}"
            if len({each.verdict for each in found.parts}) > 1:
                text += f", {outcome(claim, found, part.verdict)}"
            yield text
    yield from _unknown(found.parts)


def _tallied(claim: Claim, found: OnDevice) -> Iterator[str]:
    """The quantities that do not hold or are undecided, with their values."""
    for verdict in ("not reproduced", "undecided"):
        parts = [part for part in found.parts if part.verdict == verdict]
        if parts:
            texts = [f"{part.name} {_number(claim, [part.found])}" for part in parts[:NAMED]]
            more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
            yield f"{TALLY[verdict]}: {', '.join(texts)}{more}"
    yield from _unknown(found.parts)


def _unknown(parts: Sequence[Part]) -> Iterator[str]:
    reasons = [part.found.why for part in parts if part.found.why]
    found = list(dict.fromkeys(reasons))
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        yield f"no interval: {', '.join(found[:NAMED])}{more}"


def contradicting(judged: ClaimResult) -> str:
    """The paper's own values that contradict a claim with a tally; "" if none do."""
    claim = judged.claim
    if judged.paper_agrees is not False or not claim.tally:
        return ""
    supported = supported_by_paper(claim)
    values = zip(claim.quantities, reported_of(claim), supported, strict=True)
    return ", ".join(f"{q.name} {claim.scale.span([v])}" for q, v, holds in values if not holds)


def _numbers(claim: Claim, found: OnDevice) -> str:
    return _number(claim, [found.found] if found.found else [part.found for part in found.parts])


def _number(claim: Claim, found: Sequence[Found]) -> str:
    """The range of the values, the outermost ends of their intervals, and marks.

    Values without an interval are shown only if no value has one.
    """
    shown = [each for each in found if each.estimate] or [
        each for each in found if each.point is not None
    ]
    if not shown:
        return ""
    words = [claim.scale.span([each.point for each in shown if each.point is not None])]
    estimates = [each.estimate for each in shown if each.estimate]
    if all(each.exact for each in shown):
        words.append("exact")
    else:
        words.append(claim.scale.interval(estimates) if estimates else "no interval")
    words += [SUSPECT] * any(each.doubted for each in shown)
    words += ["apart"] * any(each.apart for each in shown)
    words += [f"({len(shown)} of {len(found)})"] * (len(shown) < len(found))
    return " ".join(words)


def _tally(parts: Sequence[Part]) -> str:
    if all(part.found.point is None for part in parts):
        return ""
    counts = {verdict: sum(part.verdict == verdict for part in parts) for verdict in TALLY}
    known = [f"{count} {TALLY[verdict]}" for verdict, count in counts.items() if count]
    marks = f" {SUSPECT}" * any(part.found.doubted for part in parts)
    return f"of {len(parts)}: {', '.join(known)}{marks}"

"""A decision in words: the reason of each network, the command that would tell, the tables."""

from __future__ import annotations

import math
import shlex
from typing import NamedTuple

from bench.analysis.choose.advice import advice
from bench.analysis.choose.decision import Decision, Entry, Judged, Standing
from bench.analysis.choose.figures import (
    LATENCY,
    QUANTITIES,
    TOP1,
    Figure,
    Quantity,
)
from bench.analysis.reasons import MARKS
from bench.models import naming, zoo
from bench.paper import accuracy
from bench.text import NOTHING, between, significant

TIED = "Tied: the 95 % intervals of it and of the first overlap."
TIED_BY_RATIO = (
    "Tied: the 95 % interval of the ratio of its latency to that of the first is not wholly above "
    "1.02."
)
MANY = 1000.0  # a larger factor is not printed


class Section(NamedTuple):
    """A table of networks with one standing, sentences below it, and the commands that it names."""

    title: str
    header: list[str]
    lines: list[list[str]]
    notes: list[str]
    commands: list[str]


def title(entry: Entry) -> str:
    """`RepNeXt-u3-T-sRep openvino bf16 †`."""
    verdict = entry.candidate.row.verdict
    mark = MARKS.get(verdict.level, "") if verdict else ""
    return f"{naming.title(entry.case)} {mark}".rstrip()


def value(figure: Figure, of: Quantity) -> str:
    """`20.3 ms (19.8 to 20.9)`, `80.1 % (timm)`; a dash for no value."""
    if figure.point is None:
        return NOTHING
    text = of.text(figure.point)
    if not (figure.is_rough or figure.missing) and figure.low < figure.high:
        ends = (significant(end / of.scale) for end in (figure.low, figure.high))
        text += f" ({' to '.join(ends)})"
    return f"{text} ({figure.source})" if figure.source else text


def reason(entry: Entry) -> str:
    """Why a network does not fit, or why it cannot be told: the one limit that decides."""
    judged = entry.candidate.decisive
    standing = entry.candidate.standing
    if standing is Standing.UNMEASURED or judged.limit is None:
        return judged.figure.missing
    said = f"{judged.of.title} {value(judged.figure, judged.of)}"
    if standing is Standing.LOST:
        return f"{said}: {_by_how_much(judged)}"
    if judged.figure.is_rough:
        return f"{said}, without an interval"
    return f"{said}, and the limit is {judged.limit.amount}"


def _by_how_much(judged: Judged) -> str:
    """`1.53 times the limit`; of top-1, `3.9 points too low`."""
    assert judged.limit is not None
    assert judged.figure.point is not None
    if judged.of.at_least:
        return f"{significant(judged.limit.bound - judged.figure.point, 2)} points too low"
    if judged.excess > MANY:
        return f"more than {MANY:g} times the limit"
    return f"{significant(judged.excess)} times the limit"


def sections(decision: Decision, device: str, folder: str) -> list[Section]:
    """The tables of a decision; a standing that no network has is left out."""
    made = [
        _fitting(decision),
        _open(decision, folder),
        _unmeasured(decision, device, folder),
        _lost(decision),
    ]
    return [each for each in made if each.lines or each.notes]


def answer(decision: Decision) -> str:
    """The decision in one sentence."""
    if not decision.fits:
        open_ = len(decision.open) + len(decision.unmeasured)
        if open_:
            return f"No network is known to fit; of {open_} it is not known."
        return "No network on record fits."
    winner = decision.fits[0]
    if len(decision.fits) == 1:
        return f"{title(winner)} is the only network known to fit."
    text = f"{title(winner)} is the first of {len(decision.fits)} that fit"
    names = [title(each) for each in decision.tied]
    return f"{text}, tied with {', '.join(names)}." if names else f"{text}."


def _fitting(decision: Decision) -> Section:
    budget = decision.budget
    asked = [budget.objective, LATENCY.name, *(limit.quantity for limit in budget.limits)]
    shown = [QUANTITIES[name] for name in dict.fromkeys(asked)]
    lines = [
        [
            "1" if place == 1 else "tied" if entry.tied else str(place),
            title(entry),
            *(value(of.of(entry.candidate.row, budget.dataset), of) for of in shown),
            between(*entry.ratio) if entry.ratio else NOTHING,
        ]
        for place, entry in enumerate(decision.fits, 1)
    ]
    header = ["", "Network", *(of.title for of in shown), "latency / first"]
    others = sum(entry.others for entry in decision.fits)
    cases = "1 more case" if others == 1 else f"{others} more cases"
    notes = [f"Fitting as well: {cases} of these networks."] if others else []
    notes += [TIED_BY_RATIO if budget.objective == LATENCY.name else TIED] * bool(decision.tied)
    return Section("Fits", header, lines, notes, [])


def _open(decision: Decision, folder: str) -> Section:
    advised = [(each, advice(each, folder)) for each in decision.open]
    lines = [[title(each), reason(each), told.text] for each, told in advised]
    made = [told.command for _, told in advised if told.command]
    return Section("Cannot be told", ["Network", "Why", "Rounds that would tell"], lines, [], made)


def _unmeasured(decision: Decision, device: str, folder: str) -> Section:
    budget = decision.budget
    lines = [[title(each), reason(each)] for each in decision.unmeasured]
    advised = [advice(each, folder, budget.dataset) for each in decision.unmeasured]
    made, notes = [told.command for told in advised if told.command], []
    if never := never_measured(decision):
        least = " and may be accurate enough" if _least_top1(decision) else ""
        notes = [f"{len(never)} networks of the paper have no record in this setting{least}."]
        words = ["bench", "run", "--device", device, "--models", ",".join(never)]
        words += ["--batch", str(budget.batch), "--resolution", budget.size]
        made.append(shlex.join([*words, "--preset", "quick", "--out", folder]))
    return Section("Not measured", ["Network", "What is missing"], lines, notes, made)


def _least_top1(decision: Decision) -> float:
    limits = decision.budget.limits
    return max((limit.bound for limit in limits if limit.quantity == TOP1.name), default=0.0)


def never_measured(decision: Decision) -> list[str]:
    """Networks of the paper without a case in the setting, but none that is too inaccurate.

    They take square images of three channels; in another setting there are none.
    """
    budget = decision.budget
    if not budget.size.isdecimal():
        return []
    every = (decision.fits, decision.open, decision.unmeasured, decision.lost)
    known = {entry.case.model for entries in every for entry in entries}
    least, resolution = _least_top1(decision), int(budget.size)
    return [
        name
        for name in zoo.ZOO
        if name not in known and _published(name, resolution, budget.dataset) >= least
    ]


def _published(model: str, resolution: int, dataset: str) -> float:
    """The published top-1 in per cent; infinite where none is known, since it may be high."""
    found = [a.top1 for a in accuracy.of(model, resolution) if a.dataset == dataset]
    return found[0] if found else math.inf


def _lost(decision: Decision) -> Section:
    lines = [[title(each), reason(each)] for each in decision.lost]
    notes = ["Of several cases of a network, the one that is nearest to fit."] if lines else []
    return Section("Does not fit", ["Network", "Why"], lines, notes, [])

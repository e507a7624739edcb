"""A decision in words: the reason of each network, the command that would tell, the tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.analysis import commands, interval
from bench.analysis.choose.decision import Decision, Entry, Judged, Standing
from bench.analysis.choose.figures import (
    LATENCY,
    QUANTITIES,
    TOP1,
    Figure,
    Quantity,
)
from bench.analysis.stats import Estimate
from bench.models import naming, zoo
from bench.paper import accuracy
from bench.text import NOTHING, significant

TIED = "Tied: the 95 % intervals of it and of the first overlap."
TIED_BY_RATIO = (
    "Tied: the 95 % interval of the ratio of its latency to that of the first is not wholly above "
    "1.02."
)
TOO_NEAR = (
    f"{NOTHING}: no number of rounds like these would tell, since the value is too near to the "
    "limit for the drift of the machine. Measure on a quieter machine, or with --patience 0.25."
)
DAGGERS = {"SUSPECT": " †", "INVALID": " ‡"}


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
    return naming.title(entry.case) + DAGGERS.get(verdict.level if verdict else "", "")


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
    of = QUANTITIES[judged.limit.quantity if judged.limit else entry.objective]
    standing = entry.candidate.standing
    if standing is Standing.UNMEASURED or judged.limit is None:
        return judged.figure.missing
    said = f"{of.title} {value(judged.figure, of)}"
    if standing is Standing.LOST:
        return f"{said}: {_by_how_much(judged)}"
    if judged.figure.is_rough:
        return f"{said}, without an interval"
    return f"{said}, and the limit is {of.text(judged.limit.bound)}"


def _by_how_much(judged: Judged) -> str:
    """`1.53 times the limit`; of top-1, `3.9 points too low`."""
    assert judged.limit is not None
    assert judged.figure.point is not None
    if judged.limit.of.at_least:
        return f"{significant(judged.limit.bound - judged.figure.point, 2)} points too low"
    return f"{significant(judged.excess)} times the limit"


def more_rounds(entry: Entry) -> int | None:
    """How many more rounds would tell whether the case keeps to the limit that decides.

    None where no number would, or where the limit is not on a latency.
    """
    judged = entry.candidate.decisive
    limit, found = judged.limit, judged.figure
    if limit is None or limit.of.share is None or found.point is None:
        return None
    known = None if found.is_rough else Estimate(found.point, found.low, found.high)
    rounds = entry.candidate.row.rounds
    return interval.more_rounds(rounds, known, limit.bound, limit.of.share)


def command(entry: Entry, folder: str) -> str:
    """The command that would tell, "" where none would."""
    case, rounds = entry.case, entry.candidate.row.rounds
    if entry.candidate.standing is Standing.OPEN:
        more = more_rounds(entry)
        return _measure(entry, folder, len(rounds) + more) if more else ""
    judged = entry.candidate.decisive
    name = judged.limit.quantity if judged.limit else entry.objective
    if name == TOP1.name:
        return commands.evaluate(case, folder)
    if entry.candidate.row.failure:
        return f"{_measure(entry, folder)} --retry-failed"
    verdict = entry.candidate.row.verdict
    if verdict and verdict.level == "INVALID":
        return f"{_measure(entry, folder)} --again"
    is_rare = name in ("p90", "p95", "p99")
    return _measure(entry, folder, 2 * max(len(rounds), 3)) if is_rare else ""


def _measure(entry: Entry, folder: str, rounds: int | None = None) -> str:
    known = entry.candidate.row.rounds
    return commands.measure(entry.case, folder, known[0].preset if known else "", rounds)


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
            _ratio(entry),
        ]
        for place, entry in enumerate(decision.fits, 1)
    ]
    header = ["", "Network", *(of.title for of in shown), "latency / first"]
    others = sum(entry.others for entry in decision.fits)
    notes = [f"{others} more cases of these networks fit, too."] if others else []
    notes += [TIED_BY_RATIO if budget.objective == LATENCY.name else TIED] * bool(decision.tied)
    return Section("Fits", header, lines, notes, [])


def _ratio(entry: Entry) -> str:
    if entry.ratio is None:
        return NOTHING
    point, low, high = (f"{each:.2f}" for each in entry.ratio)
    return f"{point} ({low} to {high})"


def _open(decision: Decision, folder: str) -> Section:
    lines = [[title(each), reason(each), _rounds(each)] for each in decision.open]
    return Section(
        "Cannot be told",
        ["Network", "Why", "Rounds that would tell"],
        lines,
        [TOO_NEAR] * any(more_rounds(each) is None for each in decision.open),
        list(_commands(decision.open, folder)),
    )


def _rounds(entry: Entry) -> str:
    more = more_rounds(entry)
    return NOTHING if more is None else f"{more} more"


def _unmeasured(decision: Decision, device: str, folder: str) -> Section:
    lines = [[title(each), reason(each)] for each in decision.unmeasured]
    made = list(_commands(decision.unmeasured, folder))
    never = never_measured(decision)
    notes = []
    if never:
        budget = decision.budget
        notes = [f"{len(never)} networks of `bench list models` have no record in this setting."]
        size = "--input" if "x" in budget.size else "--resolution"
        words = f"--batch {budget.batch} {size} {budget.size} --preset quick --out {folder}"
        made.append(f"bench run --device {device} --models {','.join(never)} {words}")
    return Section("Not measured", ["Network", "What is missing"], lines, notes, made)


def never_measured(decision: Decision) -> list[str]:
    """Networks of the paper without a case in the setting, but none that is too inaccurate."""
    budget = decision.budget
    every = (decision.fits, decision.open, decision.unmeasured, decision.lost)
    known = {entry.case.model for entries in every for entry in entries}
    least = max((m.bound for m in budget.limits if m.quantity == TOP1.name), default=0.0)
    return [
        name
        for name in zoo.ZOO
        if name not in known and _published(name, budget.size, budget.dataset) >= least
    ]


def _published(model: str, size: str, dataset: str) -> float:
    """The published top-1 in per cent; infinite where none is known, since it may be high."""
    if not size.isdecimal():
        return math.inf
    found = [a.top1 for a in accuracy.of(model, int(size)) if a.dataset == dataset]
    return found[0] if found else math.inf


def _commands(entries: Sequence[Entry], folder: str) -> Iterator[str]:
    return (text for each in entries if (text := command(each, folder)))


def _lost(decision: Decision) -> Section:
    lines = [[title(each), reason(each)] for each in decision.lost]
    notes = ["Of several cases of a network, the one that is nearest to fit."] if lines else []
    return Section("Does not fit", ["Network", "Why"], lines, notes, [])

"""What would tell whether a network fits: how many more rounds, and the command."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from bench.analysis import commands, interval, stats
from bench.analysis.choose.decision import Entry, Standing
from bench.analysis.choose.figures import TOP1, Figure, Quantity
from bench.analysis.stats import FEWEST_PROCESSES
from bench.paper.accuracy import IMAGENET


class Advice(NamedTuple):
    """How many more rounds would tell, None where none would; in words; and the command or ""."""

    rounds: int | None
    text: str
    command: str = ""


def advice(entry: Entry, folder: str, dataset: str = IMAGENET) -> Advice:
    """The advice on a network that cannot be told, or was not measured; none on any other."""
    if entry.candidate.standing is Standing.OPEN:
        return _on_open(entry, folder)
    if entry.candidate.standing is Standing.UNMEASURED:
        return _on_unmeasured(entry, folder, dataset)
    return Advice(None, "")


def _on_open(entry: Entry, folder: str) -> Advice:
    judged, row = entry.candidate.decisive, entry.candidate.row
    assert judged.limit is not None
    of, found = judged.of, judged.figure
    if found.is_rough:
        more = max(FEWEST_PROCESSES - len(row.rounds), 1)
        return Advice(more, f"{more} more, for an interval", _measure(entry, folder, more))
    if of is TOP1:
        return Advice(None, "none: evaluate more images")
    if of.share is not None:
        more_ = interval.more_rounds(row.rounds, judged.limit.bound, of.share)
        why = "none: too near for the drift of the machine"
    elif of.name == "load":
        more_, why = _of_load(entry, found, judged.limit.bound), "none: too near"
    else:
        return Advice(None, "none: the limit lies within what was seen")
    if more_ is None:
        return Advice(None, why)
    return Advice(more_, f"{more_} more", _measure(entry, folder, more_))


def _of_load(entry: Entry, found: Figure, bound: float) -> int | None:
    """The rounds after which t * s / sqrt(n) is less than the distance to the limit."""
    seconds = [r.stages_s.load + r.stages_s.first for r in entry.candidate.row.rounds]
    spread, distance = stats.stdev(seconds), abs((found.point or 0.0) - bound)
    for count in range(len(seconds) + 1, stats.MOST_ROUNDS + 1):
        if stats.t_quantile(count - 1) * spread / math.sqrt(count) < distance:
            return count - len(seconds)
    return None


def _on_unmeasured(entry: Entry, folder: str, dataset: str) -> Advice:
    judged, row = entry.candidate.decisive, entry.candidate.row
    of = judged.of
    if judged.figure.is_never:
        return Advice(None, "")
    if of is TOP1:
        return Advice(None, "", commands.evaluate(entry.case, folder, dataset))
    if row.failure:
        return Advice(None, "", f"{_measure(entry, folder)} --retry-failed")
    if row.is_invalid:
        return Advice(None, "", f"{_measure(entry, folder)} --again")
    if of.share is not None:
        more = _for_percentile(entry, of)
        return Advice(more, "", _measure(entry, folder, more))
    return Advice(None, "")


def _for_percentile(entry: Entry, of: Quantity) -> int:
    """The rounds that still lack for a percentile, with as many iterations each as so far."""
    rounds = entry.candidate.row.rounds
    each = statistics.fmean(len(record.samples_s) for record in rounds)
    needed = math.ceil(stats.fewest_samples(of.share or 0.0) / each)
    return max(needed, FEWEST_PROCESSES) - len(rounds)


def _measure(entry: Entry, folder: str, more: int | None = None) -> str:
    """The command that measures the case, with so many rounds more than count so far."""
    row = entry.candidate.row
    preset = row.rounds[0].preset if row.rounds else ""
    rounds = None if more is None else row.counted + more
    return commands.measure(entry.case, folder, preset, rounds)

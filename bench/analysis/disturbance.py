"""Rounds that are repeated: another network or another program disturbed them.

A network of the sitting disturbs others if it computes where it should wait. Other programs count
only in a run that waits for a quiet machine (`Plan.patience`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.analysis.reasons import Amount, Observation, Reason, latency, percent
from bench.analysis.stats import FEWEST_PROCESSES
from bench.records import Measurement


def undisturbed(rounds: Sequence[Measurement]) -> list[Measurement]:
    """The rounds that no other network disturbed; all rounds if each was disturbed.

    Of these, without the rounds that other programs spoilt, if enough remain for an interval.
    """
    calm = [record for record in rounds if not record.disturbed_by] or list(rounds)
    quiet = [record for record in calm if not record.spoilt_by]
    return quiet if len(quiet) >= FEWEST_PROCESSES else calm


def counted(rounds: Sequence[Measurement]) -> list[Measurement]:
    """The rounds that count towards the number of planned rounds.

    A disturbed round is repeated, so it does not count. Its repetition counts even if that was
    disturbed, too: a case ends, whatever the other networks do.
    """
    found: list[Measurement] = []
    is_owed = False  # whether the next round repeats a disturbed one
    for record in rounds:
        is_owed = bool(record.disturbed_by or record.spoilt_by) and not is_owed
        if not is_owed:
            found.append(record)
    return found


def left_out(rounds: Sequence[Measurement]) -> list[list[Reason]]:
    """For each round, the reasons why `undisturbed` leaves it out; [] for a round that it keeps."""
    kept = {(record.run_id, record.round) for record in undisturbed(rounds)}
    if len(kept) == len(rounds):
        return []
    medians = [statistics.median(record.samples_s) for record in rounds]
    of_all = latency(statistics.fmean(medians))
    return [[] if (r.run_id, r.round) in kept else list(_reasons(r, of_all)) for r in rounds]


def _reasons(record: Measurement, of_all: Amount) -> Iterator[Reason]:
    """Why the record is left out; `of_all` is the latency with all rounds."""
    median = latency(statistics.median(record.samples_s))
    if record.spoilt_by and not record.disturbed_by:
        yield Reason(Observation.SPOILT_APART, "VALID", (median, of_all))
    for each in record.disturbed_by:
        values = (median, each.name, percent(each.share))
        yield Reason(Observation.DISTURBED_APART, "VALID", values)

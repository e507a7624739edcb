"""Rounds that another network of the sitting disturbed: it computed where it should have waited."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.analysis.reasons import Observation, Reason, latency, percent
from bench.records import Measurement


def undisturbed(rounds: Sequence[Measurement]) -> list[Measurement]:
    """The rounds that no other network disturbed; all rounds if each was disturbed."""
    return [record for record in rounds if not record.disturbed_by] or list(rounds)


def counted(rounds: Sequence[Measurement]) -> list[Measurement]:
    """The rounds that count towards the number of planned rounds.

    A disturbed round is repeated, so it does not count. Its repetition counts even if that was
    disturbed, too: a case ends, whatever the other networks do.
    """
    found: list[Measurement] = []
    is_owed = False  # whether the next round repeats a disturbed one
    for record in rounds:
        is_owed = bool(record.disturbed_by) and not is_owed
        if not is_owed:
            found.append(record)
    return found


def left_out(rounds: Sequence[Measurement]) -> list[list[Reason]]:
    """For each round, the reasons why `undisturbed` leaves it out; [] for a round that it keeps."""
    if all(record.disturbed_by for record in rounds):
        return []
    return [list(_reasons(record)) for record in rounds]


def _reasons(record: Measurement) -> Iterator[Reason]:
    median = latency(statistics.median(record.samples_s))
    for each in record.disturbed_by:
        values = (median, each.name, percent(each.share))
        yield Reason(Observation.DISTURBED_APART, "VALID", values)

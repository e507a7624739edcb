"""The rounds and the failure of one case in one environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from bench.errors import UsageError
from bench.records import LAST, Case, CaseRecord, Failure, Measurement, Record, of_cases

RecordT = TypeVar("RecordT", bound=CaseRecord)


class History(NamedTuple):
    """The rounds and the failure of one case in one environment.

    `failure` is the last failure; None if a later round succeeded.
    """

    rounds: list[Measurement]
    failure: Failure | None


def history(
    records: Iterable[Record], case: Case, environment_id: str, generation: int | None = None
) -> History:
    """The history of `case` in one environment: its newest generation, or the given one.

    A round is a process of one run: runs of several folders may use the same round number. If
    `records` holds a round of one run twice, the first record counts.
    """
    wanted = (environment_id, case.case_id)
    own = [each for each in of_cases(records) if (each.environment_id, each.case_id) == wanted]
    rounds: dict[tuple[str, int], Measurement] = {}
    failure: Failure | None = None
    for record in of_generation(own, generation):
        if isinstance(record, Failure):
            failure = record
        else:
            rounds.setdefault((record.run_id, record.round), record)
            failure = None
    return History(list(rounds.values()), failure)


def of_generation(records: Sequence[RecordT], generation: int | None = None) -> list[RecordT]:
    """The records of one case that have this generation; of the newest one where it is None."""
    if generation is None:
        generation = newest_generation(records)
    return [record for record in records if record.generation == generation]


def newest_generation(records: Iterable[CaseRecord]) -> int:
    """The newest generation among the records of one case; 0 without records."""
    return max((record.generation for record in records), default=0)


def is_outdated(records: Iterable[CaseRecord], runtime: Mapping[str, str]) -> bool:
    """Whether a runtime of other versions than `runtime` made one of the records."""
    return any(record.runtime != runtime for record in records)


def current_generation(
    records: Sequence[CaseRecord], runtime: Mapping[str, str], *, anew: bool
) -> int:
    """The generation that a run continues: the newest one, or the next one, if any exists.

    It is the next one with `anew`, and where a runtime of other versions made the records of the
    newest one. `records` are those of one case. Raises UsageError if no record can have the next
    generation.
    """
    newest = newest_generation(records)
    if not (records and (anew or is_outdated(of_generation(records, newest), runtime))):
        return newest
    if newest >= LAST:
        raise UsageError(
            f"a record has the generation {newest}, the last that a record can have",
            "Choose another folder with --out.",
        )
    return newest + 1

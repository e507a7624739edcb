"""What is on record of a case in one environment: its rounds, and its failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.records import Case, Failure, Measurement, Record, of_cases


class History(NamedTuple):
    """What is on record of one case in one environment.

    `failure` is the last one, unless a later round succeeded.
    """

    rounds: list[Measurement]
    failure: Failure | None


def history(records: Iterable[Record], case: Case, environment_id: str) -> History:
    """The rounds of `case` in one environment, each once, and its failure if that came last."""
    wanted = (environment_id, case.case_id)
    rounds: dict[int, Measurement] = {}
    failure: Failure | None = None
    for record in of_cases(records):
        if (record.environment_id, record.case_id) != wanted:
            continue
        if isinstance(record, Failure):
            failure = record
        else:
            rounds.setdefault(record.round, record)
            failure = None
    return History(list(rounds.values()), failure)

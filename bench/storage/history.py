"""The rounds and the failure of one case in one environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.records import Case, Failure, Measurement, Record, of_cases


class History(NamedTuple):
    """The rounds and the failure of one case in one environment.

    `failure` is the last failure; None if a later round succeeded.
    """

    rounds: list[Measurement]
    failure: Failure | None


def history(records: Iterable[Record], case: Case, environment_id: str) -> History:
    """The history of `case` in one environment.

    If `records` holds a round twice, the first record counts.
    """
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

"""Each record once: what tells two records apart that several machines may have made twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from bench.records import Case, Environment, Failure, Measurement, Record
from bench.storage.reader import checked
from bench.storage.results import Store

Key = tuple[object, ...]


def key_of(record: Record) -> Key:
    """Return what is equal for two records of which a store may have only one.

    Of a round, there is one in an environment, whichever run made it: after a loss, another worker
    may repeat a round whose record was on its way.
    """
    if isinstance(record, Environment):
        return ("environment", record.run_id)
    if isinstance(record, (Measurement, Failure)):
        kind = type(record).__name__
        return (kind, record.environment_id, record.case_id, record.generation, record.round)
    return (msgspec.json.encode(record),)


class Ledger:
    """The records of a store, each of which is there once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = {key_of(record) for record in store.records}

    def add(self, line: str) -> Record | None:
        """Append the record of a line to the store; None if one of its key is there already.

        A failure is left out where its round succeeded. Raises FlawedLineError for a line that is
        no record of this schema.
        """
        record = checked(line.encode())
        key = key_of(record)
        if key in self._keys or ("Measurement", *key[1:]) in self._keys:
            return None
        self._store.append(record)
        self._keys.add(key)
        return record

    def lines(self, cases: Iterable[Case], environment_id: str) -> Iterator[str]:
        """The records of cases in an environment, and the runs that made them, as lines."""
        found = [r for case in cases for r in self._store.records_of(case, environment_id)]
        runs = {record.run_id for record in found}
        own = [each for each in self._store.environments() if each.run_id in runs]
        for record in (*own, *found):
            yield msgspec.json.encode(record).decode()

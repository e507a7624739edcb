"""Each record once: what tells two records apart that several machines may have made twice."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from bench.records import Case, Environment, Failure, Measurement, Record
from bench.storage.results import Store

Key = tuple[object, ...]


def key_of(record: Record) -> Key:
    """Return what is equal for two records of which a store may have only one.

    Of a round, there is one in an environment, whichever run made it: after a loss, another worker
    may repeat a round whose record was on its way.
    """
    kind = type(record).__name__
    if isinstance(record, (Measurement, Failure)):
        return (kind, record.environment_id, record.case_id, record.generation, record.round)
    return (kind, record.environment_id, record.run_id)


class Ledger:
    """Which records are known. A failure of the `retried` cases makes room for one more."""

    def __init__(self, records: Iterable[Record], retried: Container[str] = ()) -> None:
        self._same: set[Key] = set()
        self._keys: set[Key] = set()
        for record in records:
            is_open = isinstance(record, Failure) and record.case_id in retried
            self._add(record, {key_of(record)} if not is_open else set())

    def has(self, record: Record) -> bool:
        """Whether the record is known, or another one that says the same."""
        return (*key_of(record), record.run_id) in self._same or key_of(record) in self._keys

    def is_open(self, failure: Failure) -> bool:
        """Whether the failure is one that makes room for one more."""
        return key_of(failure) not in self._keys

    def add(self, record: Record) -> bool:
        """Note a record; False if `has` it."""
        if self.has(record):
            return False
        self._add(record, {key_of(record)})
        return True

    def _add(self, record: Record, keys: set[Key]) -> None:
        self._same.add((*key_of(record), record.run_id))
        self._keys |= keys


class WorkersStore(Store):
    """The store of a worker, as the client sees it: first what the client has, then the rest.

    A round that both have, made by different runs, is that of the client: the worker continues
    where the client is. Each record that is appended is also told.
    """

    def __init__(
        self,
        folder: Path,
        known: Sequence[Measurement | Failure],
        retried: Container[str],
        tell: Callable[[Record], None],
    ) -> None:
        super().__init__(folder)
        self._known: dict[tuple[str, str], list[Record]] = {}
        for record in known:
            self._known.setdefault((record.environment_id, record.case_id), []).append(record)
        self._ledger = Ledger(known, retried)
        self._tell = tell

    def append(self, record: Record) -> None:
        """Append a record, then tell of it. Raises as `Store.append`."""
        super().append(record)
        self._tell(record)

    def records_of(self, case: Case | None, environment_id: str) -> list[Record]:
        """The records of `case` in one environment. Raises UsageError as `Store.records_of`."""
        known = self._known.get((environment_id, case.case_id if case else ""), [])
        return [*known, *self._unknown(case, environment_id)]

    def is_new(self, record: Record) -> bool:
        """Whether the client lacks the record."""
        return not self._ledger.has(record)

    def tell_unknown(self, cases: Iterable[Case], environment_id: str) -> None:
        """Tell of the records of `cases` that the client lacks, and of the runs that made them."""
        found = [r for case in cases for r in self._unknown(case, environment_id)]
        runs = {record.run_id for record in found}
        own: list[Environment] = [each for each in self.environments() if each.run_id in runs]
        for record in (*own, *found):
            self._tell(record)

    def _unknown(self, case: Case | None, environment_id: str) -> list[Record]:
        return [r for r in super().records_of(case, environment_id) if self.is_new(r)]

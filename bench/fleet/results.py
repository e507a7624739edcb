"""The stores of a fleet's machines below one folder, which the client alone writes."""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import UsageError
from bench.fleet.errand import Offered
from bench.fleet.ledger import Ledger
from bench.fleet.validation import CAMPAIGN
from bench.harness.plan import Plan
from bench.harness.stopping_rule import is_done
from bench.records import Case, Environment, Failure, Measurement, Record, of_cases
from bench.storage import files, lock
from bench.storage.history import newest_generation
from bench.storage.reader import FlawedLineError, checked
from bench.storage.results import CHOOSE_OUT, Store

NAME = ".fleet"  # the file below a folder of results with the name that workers know it by


class Machine(NamedTuple):
    """A kind of machine: its environment, its cases, and the store of its chip."""

    environment: Environment
    cases: list[Case]
    store: Store
    ledger: Ledger
    generations: Mapping[str, int]  # the earliest that counts, by case_id
    failed: frozenset[str]  # the cases to retry, by case_id

    def rounds(self, case: Case) -> Sequence[Measurement]:
        """The rounds of a case on record."""
        return self.store.history(case, self.environment.environment_id).rounds

    def wants(self, record: Record) -> bool:
        """Whether a record is of a case that was asked for, or of a run on this chip."""
        if isinstance(record, Environment):
            return record.chip.slug == self.environment.chip.slug
        return isinstance(record, (Measurement, Failure)) and record.case in self.cases

    def known(self, cases: Sequence[Case]) -> list[Measurement | Failure]:
        """The records of cases in this environment."""
        here = self.environment.environment_id
        return [r for case in cases for r in of_cases(self.store.records_of(case, here))]

    def retried(self, cases: Sequence[Case]) -> list[str]:
        """The cases to retry that have not failed again since."""
        return [c.case_id for c in cases if c.case_id in self.failed and not self._has_failed(c)]

    def lacks(self, case: Case, plan: Plan) -> bool:
        """Whether a case needs a round of the plan that no worker has sent yet."""
        records = self.known([case])
        if not records or newest_generation(records) < self.generations.get(case.case_id, 0):
            return True
        rounds, failure = self.store.history(case, self.environment.environment_id)
        if failure is not None:
            return case.case_id in self.failed and not self._has_failed(case)
        return not is_done(plan, rounds)

    def _has_failed(self, case: Case) -> bool:
        """Whether a case to retry has failed again, after the failure for which it is retried."""
        failure = self.store.history(case, self.environment.environment_id).failure
        return failure is not None and not self.ledger.is_open(failure)


class Results:
    """The stores below `out`, by chip. `came` is called with each round and failure.

    Nothing is written before the first `open`.
    """

    def __init__(
        self,
        out: Path,
        came: Callable[[Record, Sequence[Measurement]], None],
        on_wait: lock.OnWait | None = None,
    ) -> None:
        self._out, self._came, self._on_wait = out, came, on_wait
        self._stack = contextlib.ExitStack()
        self._stores: dict[str, Store] = {}
        self.offered: dict[str, Offered] = {}  # by environment_id
        self.machines: dict[str, Machine] = {}  # by environment_id
        self.unread: list[str] = []

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @functools.cached_property
    def name(self) -> str:
        """The name of the folder for workers. Raises UsageError as `_name_of`."""
        return _name_of(self._out)

    @property
    def has_grown(self) -> bool:
        """Whether a round has come."""
        return any(store.has_grown for store in self._stores.values())

    @property
    def warnings(self) -> list[str]:
        """What was repaired or left out when the stores were opened."""
        return [warning for store in self._stores.values() for warning in store.warnings]

    def open(self, offered: Offered, *, retry_failed: bool, again: bool) -> Machine:
        """Open the store of a machine's chip. Raises UsageError as `Store.open` does."""
        environment = offered.environment
        slug = environment.chip.slug
        if slug not in self._stores:
            store = Store(self._out / slug)
            store.open(self._on_wait)
            self._stack.callback(store.close)
            self._stores[slug] = store
        store = self._stores[slug]
        here = environment.environment_id
        cases = [case for group in offered.groups for case in group]
        known = {case: list(of_cases(store.records_of(case, here))) for case in cases}
        failed = {case.case_id for case in cases if store.history(case, here).failure}
        retried = frozenset(failed if retry_failed else ())
        machine = Machine(
            environment,
            cases,
            store,
            Ledger([*(r for each in known.values() for r in each), *store.environments()], retried),
            {c.case_id: newest_generation(r) + 1 for c, r in known.items() if r and again},
            retried,
        )
        self.machines[here] = machine
        return machine

    def take(self, line: str, version: str) -> bool:
        """Append a record, unless it is known; False for one that cannot be read here.

        Only a record of a case that was asked for is taken, and of an environment of the fleet.
        """
        try:
            record = checked(line.encode())
        except FlawedLineError as error:
            said = f"schema {error.detail}" if error.flaw.name == "SCHEMA" else error.detail
            self.unread.append(f"a record of a worker with bench {version} was left out: {said}")
            return False
        machine = self.machines.get(record.environment_id)
        if machine is not None and machine.wants(record) and machine.ledger.add(record):
            machine.store.append(record)
            if isinstance(record, (Measurement, Failure)):
                self._came(record, machine.rounds(record.case))
        return True


def _name_of(out: Path) -> str:
    """Return the name under which workers keep what they measure for a folder; the same each time.

    So a new folder is measured anew. Raises UsageError if the folder cannot be written to.
    """
    path = out / NAME
    with contextlib.suppress(OSError):
        known = files.read(path, 100).decode(errors="replace").strip()
        if CAMPAIGN.fullmatch(known):
            return known
    made = secrets.token_hex(8)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with files.open_to_write(path) as file:
            file.write(f"{made}\n".encode())
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}", CHOOSE_OUT) from error
    return made

"""What is on record of a device, as it was measured last: environments, cases and their rounds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.analysis.ratio import State, usual_state
from bench.analysis.verdict import Machine, Quiet, Verdict, judge_case, quiet_of
from bench.errors import UsageError
from bench.records import (
    Case,
    Chip,
    Environment,
    Failure,
    Measurement,
    Profile,
    Record,
    of_cases,
)
from bench.storage.history import History, history
from bench.storage.reader import Flaw, Unread, files_below, read

HASH = re.compile(r"#[0-9a-f]{8}(?=@|\+|$)")
NAMES_SHOWN = 40
FEWEST_LETTERS = 6  # of a case_id that stands for the whole
MEASURE_FIRST = "Measure first: python -m bench run --suite table6 --device cpu --preset quick"


class Recorded(msgspec.Struct, frozen=True):
    """The records of one device in the environment that was measured last."""

    folder: Path
    environment: Environment
    records: list[Measurement | Failure]
    warnings: list[str] = []

    @property
    def cases(self) -> list[Case]:
        """In the order in which they were first measured."""
        return list(dict.fromkeys(record.case for record in self.records))

    def history(self, case: Case) -> History:
        """The rounds of `case`, and its failure if that came last."""
        return history(self.records, case, self.environment.environment_id)

    def matching(self, selector: str) -> list[Case]:
        """Cases whose id begins with `selector`, or whose name it is, with or without form."""
        named = [
            case
            for case in self.cases
            if selector in (case.name, case.model, unhashed(case.name), unhashed(case.model))
        ]
        newest = {(unhashed(case.name), case.group): case.model for case in named}
        if selector == unhashed(selector):  # of a file that was edited, the last version
            named = [c for c in named if c.model == newest[unhashed(c.name), c.group]]
        if named or len(selector) < FEWEST_LETTERS:
            return named
        return [case for case in self.cases if case.case_id.startswith(selector)]

    def alike(self, case: Case) -> list[Measurement]:
        """Rounds whose kernels ran as those of `case` do: on as many threads."""
        return [
            record
            for record in self.records
            if isinstance(record, Measurement) and record.case.threads == case.threads
        ]

    def quiet(self, case: Case) -> Quiet | None:
        """What the kernels of `case` take on this machine when nothing is in their way."""
        return quiet_of(self.alike(case))

    def usual(self, case: Case) -> State | None:
        """The usual state of the machine for cases like `case`."""
        return usual_state(self.alike(case))

    def verdict(self, case: Case) -> Verdict:
        """What to think of what was measured of `case`."""
        machine = Machine.of(self.environment.chip, self.quiet(case))
        return judge_case(self.history(case).rounds, machine)


def latest(source: Path) -> list[Recorded]:
    """What is on record below the folder `source`, device by device.

    Raises UsageError where there is nothing, or where records are of another version.
    """
    found = []
    for path in files_below(source):
        records, unread = read(path)
        for each in unread:
            if each.flaw is Flaw.SCHEMA:
                remedy = "Read these with the version of bench that wrote them."
                raise UsageError(str(each), remedy)
        newest = _newest(path.parent, records, unread)
        if newest:
            found.append(newest)
    if not found:
        raise UsageError(f"no results in {source}", MEASURE_FIRST)
    return found


def nothing_called(selector: str, folder: Path, everything: Sequence[Recorded]) -> UsageError:
    """An error for a selector that matches nothing, with what there is."""
    names = sorted({case.name for recorded in everything for case in recorded.cases})
    there_are = ", ".join(names[:NAMES_SHOWN])
    return UsageError(f"nothing called {selector!r} in {folder}", f"There are: {there_are}")


def unhashed(name: str) -> str:
    """`net.py:net#1a2b3c4d@srep` to `net.py:net@srep`: the name without what the file held."""
    return HASH.sub("", name)


def unknown_environment(record: Measurement | Failure | Profile) -> Environment:
    """For records whose environment is not on record, which `bench run` never leaves."""
    device = record.case.device
    chip = Chip(device=device, kind="", name=f"unknown {device}", threads=0, facts={})
    return Environment(record.run_id, record.environment_id, chip, {}, {}, "", "")


def _newest(folder: Path, records: Sequence[Record], unread: Sequence[Unread]) -> Recorded | None:
    measured = list(of_cases(records))
    if not measured:
        return None
    last_id = measured[-1].environment_id
    environments = [
        r for r in records if isinstance(r, Environment) and r.environment_id == last_id
    ]
    own = [r for r in measured if r.environment_id == last_id]
    environment = environments[-1] if environments else unknown_environment(measured[-1])
    return Recorded(folder, environment, own, [str(each) for each in unread])

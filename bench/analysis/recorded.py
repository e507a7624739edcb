"""The records of each device in the environment that was measured last."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.analysis.gather import DeviceRecords, check_schema, gather
from bench.analysis.pairs import State
from bench.analysis.ratio import usual_state
from bench.analysis.settings import alike
from bench.analysis.verdict import Machine, Quiet, Verdict, judge_case, quiet_of, usable_cpus
from bench.errors import UsageError
from bench.models import labels, naming
from bench.models.naming import without_hash
from bench.records import (
    Case,
    CaseRecord,
    Chip,
    Environment,
    Evaluation,
    Failure,
    Measurement,
    of_cases,
)
from bench.storage.history import History, history
from bench.storage.order import environment_ids

NAMES_SHOWN = 40
UNKNOWN = "unknown "  # begins the name of a chip that is not on record
FEWEST_LETTERS = 6  # shortest prefix of a case_id that selects a case
MEASURE_FIRST = "Measure first: bench run --suite table6 --device cpu --preset quick"


class Recorded(msgspec.Struct, frozen=True, dict=True):
    """The records of one device in the environment that was measured last.

    What several cases ask for is computed once, so `records` must not change later. `context` holds
    the environments of its runs, and the evaluations of the device in any environment. `earlier`
    are the cases that were measured in earlier environments alone.
    """

    environment: Environment
    records: list[Measurement | Failure]
    warnings: list[str] = []
    usable_cpus: dict[str, int] = {}  # by run_id
    unreadable: list[str] = []  # sentences on other devices that could not be read
    context: list[Environment | Evaluation] = []
    earlier: list[Case] = []

    @property
    def cases(self) -> list[Case]:
        """The cases, in the order in which they were first measured."""
        return list(dict.fromkeys(record.case for record in self.records))

    def history(self, case: Case) -> History:
        """The rounds of `case` that may be pooled, and its failure if no later round succeeded.

        The last of these rounds says why the case ended, even if a later round is left out.
        """
        every = self._history(case)
        kept = alike(every.rounds)
        if kept:
            ended = every.rounds[-1].stopped_by
            kept[-1] = msgspec.structs.replace(kept[-1], stopped_by=ended)
        return every._replace(rounds=kept)

    def _history(self, case: Case) -> History:
        own = self._by_case.get(case.case_id, [])
        return history(own, case, self.environment.environment_id)

    @functools.cached_property
    def _by_case(self) -> dict[str, list[Measurement | Failure]]:
        """The records of each case, by case_id."""
        found: dict[str, list[Measurement | Failure]] = {}
        for record in self.records:
            found.setdefault(record.case_id, []).append(record)
        return found

    @functools.cached_property
    def _by_kernels(self) -> dict[tuple[object, ...], list[Measurement]]:
        """The rounds by `Case.of_kernels`: those of one key have comparable calibration kernels."""
        found: dict[tuple[object, ...], list[Measurement]] = {}
        for record in self.records:
            if isinstance(record, Measurement):
                found.setdefault(record.case.of_kernels, []).append(record)
        return found

    @functools.cached_property
    def _quiet(self) -> dict[tuple[object, ...], Quiet | None]:
        return {key: quiet_of(rounds) for key, rounds in self._by_kernels.items()}

    @functools.cached_property
    def _usual(self) -> dict[tuple[object, ...], State | None]:
        return {key: usual_state(rounds) for key, rounds in self._by_kernels.items()}

    def matching(self, selector: str) -> list[Case]:
        """Cases called `selector` (`naming.is_called`); else cases whose id begins with it."""
        named = [case for case in self.cases if naming.is_called(case, selector)]
        newest = {(without_hash(case.name), case.group): case.model for case in named}
        if selector == without_hash(selector):  # of several versions of a file, the newest
            named = [c for c in named if c.model == newest[without_hash(c.name), c.group]]
        if named or len(selector) < FEWEST_LETTERS:
            return named
        return [case for case in self.cases if case.case_id.startswith(selector)]

    def quiet(self, case: Case) -> Quiet | None:
        """Seconds that the calibration kernels of `case` take on the quiet machine."""
        return self._quiet.get(case.of_kernels)

    def usual(self, case: Case) -> State | None:
        """The usual state of the machine for cases with the same kernels as `case`."""
        return self._usual.get(case.of_kernels)

    def verdict(self, case: Case) -> Verdict:
        """The verdict on the rounds of `case`."""
        machine = Machine(self.quiet(case), self.usable_cpus)
        return judge_case(self._history(case).rounds, machine)


def latest(source: Path) -> list[Recorded]:
    """The records below the folder `source`, one Recorded per device.

    A device that cannot be read is named in `unreadable` of the others. Raises UsageError when
    there are no records, or when a record has another schema version.
    """
    gathered = gather([source])
    check_schema(line for device in gathered.devices for line in device.skipped)
    unreadable = gathered.unreadable
    found = [newest for device in gathered.devices if (newest := _newest(device, unreadable))]
    if not found:
        raise UsageError("; ".join([f"no results in {source}", *unreadable]), MEASURE_FIRST)
    return relabelled(found, labels.on_record(gathered.runs))


def unreadable_in(several: Iterable[Recorded]) -> list[str]:
    """Sentences on the devices that could not be read, each once."""
    return list(dict.fromkeys(sentence for each in several for sentence in each.unreadable))


def relabelled(found: Sequence[Recorded], given: Mapping[str, str]) -> list[Recorded]:
    """The same records with the labels `given`, by model, on their cases."""
    models = [case.model for each in found for case in each.cases]
    unique = labels.settled(given, models)
    return [
        msgspec.structs.replace(each, records=labels.stamped(each.records, unique))
        for each in found
    ]


def no_such_case(selector: str, folder: Path, everything: Sequence[Recorded]) -> UsageError:
    """An error for a `selector` that matches no case; it lists the cases on record."""
    names = sorted({naming.name(case) for recorded in everything for case in recorded.cases})
    listed = ", ".join(names[:NAMES_SHOWN])
    message = f"no case named {selector!r} in {folder}"
    message = "; ".join([message, *unreadable_in(everything)])
    return UsageError(message, f"Cases on record: {listed}")


def unknown_environment(record: CaseRecord) -> Environment:
    """A stand-in for an environment that is missing in the file; `bench run` always writes it."""
    device = record.case.device
    chip = Chip(device=device, kind="", name=f"{UNKNOWN}{device}", threads=0, facts={})
    return Environment(record.run_id, record.environment_id, chip, {}, {}, "", "")


def _newest(device: DeviceRecords, unreadable: list[str]) -> Recorded | None:
    records = device.records
    measured = list(of_cases(records))
    if not measured:
        return None
    last_id = environment_ids(records)[-1]
    environments = [
        r for r in records if isinstance(r, Environment) and r.environment_id == last_id
    ]
    own = [r for r in measured if r.environment_id == last_id]
    environment = environments[-1] if environments else unknown_environment(own[-1])
    warnings = [*map(str, device.skipped), *device.remarks]
    return Recorded(
        environment=environment,
        records=own,
        warnings=warnings,
        usable_cpus=usable_cpus(environments),
        unreadable=unreadable,
        earlier=_earlier(measured, last_id),
        context=[*environments, *(r for r in records if isinstance(r, Evaluation))],
    )


def _earlier(measured: Sequence[Measurement | Failure], last_id: str) -> list[Case]:
    own = {record.case for record in measured if record.environment_id == last_id}
    others = dict.fromkeys(r.case for r in measured if r.environment_id != last_id)
    return [case for case in others if case not in own]

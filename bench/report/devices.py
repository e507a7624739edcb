"""What is on record of one device in one environment, ready for tables, figures and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from bench.accuracy import Given
from bench.profiling.recorded import Known, known_of, peaks_for
from bench.records import Case, Environment, Peaks, Record, of_cases, of_profiles
from bench.report import rows
from bench.report.rows import Row
from bench.store import unknown_environment

ID_SHOWN = 8  # letters of an environment_id


class DeviceResults(msgspec.Struct, frozen=True):
    """One device in one environment. `label` names it, unlike any other in the same report.

    `latest` marks the environment of the device that was measured last: tables, figures and
    claims are made of that one. `notes` say what a reader should know first: what is unfinished,
    failed, or of another environment. `profiles` are those of this environment, case by case, and
    `peaks` what the device reaches at best, by case_id of a profile.
    """

    slug: str
    label: str
    environment: Environment
    latest: bool
    rows: list[Row]
    profiles: list[Known] = []
    peaks: dict[str, Peaks] = {}
    notes: list[str] = []

    @property
    def kind(self) -> str:
        """The paper's kind of device: `cpu`, `gpu`, `edge`, or "" for one that is none."""
        return self.environment.chip.kind

    def row(self, case: Case) -> Row | None:
        """The row of exactly this case."""
        return next((row for row in self.rows if row.case == case), None)


def of(slug: str, records: Sequence[Record], given: Sequence[Given] = ()) -> list[DeviceResults]:
    """What is on record of one device, environment by environment, that measured last at the end.

    `records` are those of one `results.jsonl`; `given` are accuracies that the user knows.
    """
    every = rows.of(records, given)
    measured = [record.environment_id for record in of_cases(records)]
    profiled = [record.environment_id for record in of_profiles(records)]
    last = (measured or profiled or [""])[-1]
    ids = [each for each in dict.fromkeys([*measured, *profiled]) if each != last]
    found = []
    for environment_id in [*ids, *([last] if last else [])]:
        own = [row for row in every if row.environment.environment_id == environment_id]
        environment = own[0].environment if own else _environment(records, environment_id)
        cases = dict.fromkeys(
            r.case for r in of_profiles(records) if r.environment_id == environment_id
        )
        peaks = {case.case_id: peaks_for(records, case, environment_id) for case in cases}
        name = environment.chip.name
        is_last = environment_id == last
        found.append(
            DeviceResults(
                slug=slug,
                label=name if is_last else f"{name} ({environment_id[:ID_SHOWN]})",
                environment=environment,
                latest=is_last,
                rows=own,
                profiles=[known_of(records, case, environment_id) for case in cases],
                peaks={key: value for key, value in peaks.items() if value},
                notes=list(_notes(own, environment_id, ids if is_last else [])),
            )
        )
    return found


def told_apart(every: Sequence[DeviceResults]) -> list[DeviceResults]:
    """The same, with the folder's name in labels that would be alike."""
    labels = Counter(each.label for each in every)
    return [
        msgspec.structs.replace(each, label=f"{each.label} in {each.slug}")
        if labels[each.label] > 1
        else each
        for each in every
    ]


def _environment(records: Sequence[Record], environment_id: str) -> Environment:
    """The environment of profiles whose cases were not measured there."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == environment_id:
            return record
    profile = next(r for r in of_profiles(records) if r.environment_id == environment_id)
    return unknown_environment(profile)


def _notes(own: Sequence[Row], environment_id: str, others: Sequence[str]) -> Iterator[str]:
    unfinished = [row.case.name for row in own if row.unfinished]
    failed = [row.case.name for row in own if row.failure]
    if others:
        yield (
            f"measured in {len(others) + 1} environments that differ; tables and figures are of "
            f"the last, {environment_id[:ID_SHOWN]}, results.md and the page have all"
        )
    if unfinished:
        yield f"unfinished, more rounds were to come: {_some(unfinished)}"
    if failed:
        yield f"failed: {_some(failed)}"


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

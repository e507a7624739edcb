"""What is on record of one device in one environment, ready for tables, figures and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from bench.analysis import rows
from bench.analysis.profile.recorded import ProfileHistory, peaks_for, profile_history
from bench.analysis.recorded import unknown_environment
from bench.analysis.rows import Row
from bench.paper.accuracy import Given
from bench.records import Environment, Peaks, Profile, Record, of_cases, of_profiles

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
    profiles: list[ProfileHistory] = []
    peaks: dict[str, Peaks] = {}
    notes: list[str] = []

    @property
    def kind(self) -> str:
        """The paper's kind of device: `cpu`, `gpu`, `edge`, or "" for one that is none."""
        return self.environment.chip.kind


def of(slug: str, records: Sequence[Record], given: Sequence[Given] = ()) -> list[DeviceResults]:
    """What is on record of one device, environment by environment, that measured last at the end.

    `records` are those of one `results.jsonl`; `given` are accuracies that the user knows.
    """
    every = rows.of(records, given)
    ids = _in_order(records)
    found = []
    for environment_id in ids:
        own = [row for row in every if row.environment.environment_id == environment_id]
        environment = own[0].environment if own else _environment(records, environment_id)
        cases = dict.fromkeys(
            r.case for r in of_profiles(records) if r.environment_id == environment_id
        )
        peaks = {case.case_id: peaks_for(records, case, environment_id) for case in cases}
        name = environment.chip.name or slug
        is_last = environment_id == ids[-1]
        found.append(
            DeviceResults(
                slug=slug,
                label=name if is_last else f"{name} ({environment_id[:ID_SHOWN]})",
                environment=environment,
                latest=is_last,
                rows=own,
                profiles=[profile_history(records, case, environment_id) for case in cases],
                peaks={key: value for key, value in peaks.items() if value},
                notes=list(_notes(own, records, environment, ids if is_last else [])),
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


def _in_order(records: Sequence[Record]) -> list[str]:
    """Ids of environments, that measured last at the end; those only profiled come first.

    By when the run began, since records may come from several files; without that, as they come.
    """
    began = {
        (r.run_id, r.environment_id): r.started_at for r in records if isinstance(r, Environment)
    }
    last: dict[str, tuple[bool, str, int]] = {}
    for place, record in enumerate([*of_profiles(records), *of_cases(records)]):
        is_case = not isinstance(record, Profile)
        started = began.get((record.run_id, record.environment_id), "")
        key = (is_case, started, place)
        last[record.environment_id] = max(key, last.get(record.environment_id, key))
    return sorted(last, key=lambda each: last[each])


def _environment(records: Sequence[Record], environment_id: str) -> Environment:
    """The environment of profiles whose cases were not measured there."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == environment_id:
            return record
    profile = next(r for r in of_profiles(records) if r.environment_id == environment_id)
    return unknown_environment(profile)


def _notes(
    own: Sequence[Row], records: Sequence[Record], environment: Environment, ids: Sequence[str]
) -> Iterator[str]:
    """What a reader should know first; `ids` are all environments if this is the latest."""
    environment_id = environment.environment_id
    if len(ids) > 1:
        yield (
            f"measured in {len(ids)} environments that differ; tables and figures are of "
            f"the last, {environment_id[:ID_SHOWN]}, results.md and the page have all"
        )
    yield from _contradictions(own, records, environment)
    if not own:
        yield "no case was measured, only profiled"
    unfinished = [row.case.name for row in own if row.unfinished]
    failed = [row.case.name for row in own if row.failure]
    if unfinished:
        yield f"unfinished, more rounds were to come: {_some(unfinished)}"
    if failed:
        yield f"failed: {_some(failed)}"


def _contradictions(
    own: Sequence[Row], records: Sequence[Record], environment: Environment
) -> Iterator[str]:
    """What cannot be true of records that `bench run` wrote."""
    described = [
        r.chip
        for r in records
        if isinstance(r, Environment) and r.environment_id == environment.environment_id
    ]
    names = list(dict.fromkeys(f"{chip.name} ({chip.device})" for chip in described))
    if len(names) > 1:
        yield f"its environment is said to be of {_some(names)}: do not believe what follows"
    if not described:
        yield "its environment is not on record: nobody knows what it was measured on"
    others = {row.case.device for row in own} - {environment.chip.device}
    if others:
        yield f"cases of {_some(sorted(others))} are said to be of {environment.chip.device}"


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

"""The records of one device in one environment, prepared for tables, figures and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from bench.analysis import evaluations, rows
from bench.analysis.evaluations import Evaluations
from bench.analysis.profile.recorded import ProfileHistory, peaks_for, profile_history
from bench.analysis.recorded import unknown_environment
from bench.analysis.rows import Row
from bench.models import naming
from bench.paper.accuracy import Given
from bench.records import Case, Environment, Peaks, Record, of_evaluations, of_profiles
from bench.records.environment import slug_of
from bench.storage.order import environment_ids
from bench.text import some_of

ID_SHOWN = 8  # letters of an environment_id
NAMED = 8  # names in a note


class DeviceResults(msgspec.Struct, frozen=True):
    """One device in one environment. `label` is unique in the report.

    `latest` marks the environment that was measured last; tables, figures and claims use only
    that one. `rows` are of inferences in a tight loop, `training` of training steps, and `in_use`
    of inferences in other scenarios. `notes` tell the reader what is unfinished, failed or
    contradictory. `profiles` has one entry per profiled case of this environment. `peaks` maps the
    case_id of a profile to the device's measured peak MAC/s and bytes/s. `families` are those of
    the whole report, in the order in which they take colours (`bench.report.colours`).
    `evaluations` are those of the device in all environments: an accuracy depends on none.
    """

    slug: str
    label: str
    environment: Environment
    latest: bool
    rows: list[Row]
    training: list[Row] = []
    in_use: list[Row] = []
    profiles: list[ProfileHistory] = []
    peaks: dict[str, Peaks] = {}
    notes: list[str] = []
    families: tuple[str, ...] = ()
    evaluations: Evaluations = Evaluations([], [])

    @property
    def usual(self) -> list[Row]:
        """The rows of inferences in a tight loop, then those of training steps."""
        return [*self.rows, *self.training]

    @property
    def every(self) -> list[Row]:
        """The rows of inferences, of training steps, then those in other scenarios."""
        return [*self.usual, *self.in_use]

    @property
    def kind(self) -> str:
        """The paper's kind of device: `cpu`, `gpu`, `edge`, or "" for any other."""
        return self.environment.chip.kind


def of(slug: str, records: Sequence[Record], given: Sequence[Given] = ()) -> list[DeviceResults]:
    """One DeviceResults per environment of a device, the environment measured last at the end.

    `records` are the records of one device folder; `given` are accuracies that the user supplies.
    """
    every = rows.of(records, given)
    ids = environment_ids(records)
    evaluated = evaluations.latest(records)
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
                rows=[row for row in own if row.case.is_tight],
                training=[row for row in own if row.case.trains],
                in_use=[row for row in own if not (row.case.is_tight or row.case.trains)],
                profiles=[profile_history(records, case, environment_id) for case in cases],
                peaks={key: value for key, value in peaks.items() if value},
                notes=list(_notes(own, records, environment, ids if is_last else [])),
                evaluations=evaluated,
            )
        )
    return found


def with_unique_labels(every: Sequence[DeviceResults]) -> list[DeviceResults]:
    """The same devices; equal labels get the name of the device's folder appended."""
    labels = Counter(each.label for each in every)
    return [
        msgspec.structs.replace(each, label=f"{each.label} in {each.slug}")
        if labels[each.label] > 1
        else each
        for each in every
    ]


def by_allocation(every: Sequence[DeviceResults]) -> list[DeviceResults]:
    """Each device once for each allocator and huge pages of its cases, the default first.

    Tables and claims show them beside each other, and never rank or judge them together.
    """
    return [part for device in every for part in _parts(device)]


def _parts(device: DeviceResults) -> list[DeviceResults]:
    cases = [row.case for row in device.every]
    firsts = [(known.rounds[0] if known.rounds else known.failure) for known in device.profiles]
    cases += [first.case for first in firsts if first]
    found = {case.allocation: case for case in cases}
    if len(found) < 2:
        return [device]
    ordered = sorted(found.values(), key=lambda case: bool(naming.allocation(case)))
    parts = [_part(device, case) for case in ordered]
    return sorted(parts, key=lambda part: not part.rows)  # training steps alone come last


def _part(device: DeviceResults, like: Case) -> DeviceResults:
    """The cases of a device with the allocator and the huge pages of `like`."""
    words = naming.allocation(like)
    return msgspec.structs.replace(
        device,
        slug="-".join(filter(None, [device.slug, slug_of(words)])),
        label=f"{device.label}, {words}" if words else device.label,
        rows=[row for row in device.rows if row.case.allocation == like.allocation],
        training=[row for row in device.training if row.case.allocation == like.allocation],
        in_use=[row for row in device.in_use if row.case.allocation == like.allocation],
        profiles=[
            known
            for known in device.profiles
            if (first := known.rounds[0] if known.rounds else known.failure)
            and first.case.allocation == like.allocation
        ],
    )


def _environment(records: Sequence[Record], environment_id: str) -> Environment:
    """The environment with this id, for a device without a measured case."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == environment_id:
            return record
    every = [*of_profiles(records), *of_evaluations(records)]
    return unknown_environment(next(r for r in every if r.environment_id == environment_id))


def _notes(
    own: Sequence[Row], records: Sequence[Record], environment: Environment, ids: Sequence[str]
) -> Iterator[str]:
    """Notes for the reader; `ids` are all environment ids for the latest one, else empty."""
    environment_id = environment.environment_id
    if len(ids) > 1:
        yield (
            f"measured in {len(ids)} different environments; tables and figures show the last, "
            f"{environment_id[:ID_SHOWN]}; results.md and report.html show all"
        )
    yield from _contradictions(own, records, environment)
    here = (each.environment_id == environment_id for each in of_profiles(records))
    if not own and any(here):
        yield "cases were profiled, but none was measured"
    unfinished = [naming.name(row.case) for row in own if row.unfinished]
    failed = [naming.name(row.case) for row in own if row.failure]
    if unfinished:
        yield f"unfinished, the run ended before the last round: {some_of(unfinished, NAMED)}"
    if failed:
        yield f"failed: {some_of(failed, NAMED)}"


def _contradictions(
    own: Sequence[Row], records: Sequence[Record], environment: Environment
) -> Iterator[str]:
    """Contradictions that records of `bench run` cannot have: somebody edited or mixed files."""
    described = [
        r.chip
        for r in records
        if isinstance(r, Environment) and r.environment_id == environment.environment_id
    ]
    names = list(dict.fromkeys(f"{chip.name} ({chip.device})" for chip in described))
    if len(names) > 1:
        chips = some_of(names, NAMED)
        yield f"the records name different chips, {chips}: do not trust these results"
    if not described:
        yield "no environment is on record: the chip and the versions are unknown"
    others = {row.case.device for row in own} - {environment.chip.device}
    if others:
        yield (
            f"cases of {some_of(sorted(others), NAMED)} are recorded under "
            f"{environment.chip.device}: do not trust these results"
        )

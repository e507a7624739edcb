"""A case over time: one point for each run, commit or version, and where a change is decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.analysis import stats
from bench.analysis.compare import differences
from bench.analysis.gather import File, check_schema, read_files
from bench.analysis.interval import interval
from bench.analysis.ratio import Comparison, compare
from bench.analysis.recorded import unknown_environment
from bench.analysis.settings import alike
from bench.analysis.stats import Estimate
from bench.analysis.verdict import Machine, Verdict, judge_case, quiet_of, usable_cpus
from bench.errors import UsageError
from bench.models import naming
from bench.models.naming import without_hash
from bench.records import Case, Chip, Environment, Failure, Measurement, Record
from bench.storage.order import starts

DATE = len("2026-01-01T00:00")


class Point(msgspec.Struct, frozen=True):
    """The rounds of one version of a case, in one environment of one file of results.

    `label` is the label of the run, or the date. `latency_s` is the mean of the processes' medians,
    `interval` its 95 % interval. `changes` says what differs from the point before, and `differs`
    what differs from the reference: the last point at which a change was decided, or the first.
    `against` is the comparison with the reference; None for the first point, and where the verdict
    of this one is INVALID.
    """

    label: str
    started_at: str
    case: Case
    environment: Environment
    rounds: list[Measurement]
    latency_s: float
    interval: Estimate | None
    verdict: Verdict
    changes: list[str] = []
    differs: list[str] = []
    reference: str = ""
    against: Comparison | None = None

    @property
    def is_change(self) -> bool:
        """Whether a change is decided here."""
        return self.against is not None and self.against.told_apart


class Timeline(msgspec.Struct, frozen=True):
    """The points of one case on one device, the oldest first. `case` has no hash of a file."""

    case: Case
    chip: Chip
    points: list[Point]


class Read(NamedTuple):
    """All timelines that a name selects, warnings on lines, and what could not be read."""

    timelines: list[Timeline]
    warnings: list[str]
    unreadable: list[str]


def timelines(sources: Sequence[Path], selector: str, margin: float = stats.MARGIN) -> Read:
    """The timelines of the cases that `selector` names, in the files below `sources`.

    Two versions of a user's file are two points of one timeline. Raises UsageError if no case has
    the name, if a source is not a folder, and for records of another schema.
    """
    files, unreadable = read_files(sources)
    skipped = [line for file in files for line in file.skipped]
    check_schema(skipped)
    warnings = [*map(str, skipped)]
    points: dict[tuple[str, Case], list[Point]] = {}
    seen: set[tuple[str, str, int]] = set()
    for file in files:
        for own in _groups(file.records, selector):
            rounds = [each for each in own if (each.run_id, each.case_id, each.round) not in seen]
            seen.update((each.run_id, each.case_id, each.round) for each in own)
            if rounds:
                key = (file.slug, _plain(rounds[0].case))
                points.setdefault(key, []).append(_point(rounds, file.records))
    if not points:
        raise _none_found(selector, sources, files, [*warnings, *unreadable])
    found = []
    for (_, case), several in points.items():
        ordered = sorted(several, key=lambda point: point.started_at)
        chip = ordered[-1].environment.chip
        found.append(Timeline(case, chip, _compared(ordered, margin)))
    return Read(found, warnings, unreadable)


def _none_found(
    selector: str, sources: Sequence[Path], files: Sequence[File], trouble: Sequence[str]
) -> UsageError:
    """The error for a name that selects no measured case, with what may explain it."""
    records = [record for file in files for record in file.records]
    failed = [r for r in records if isinstance(r, Failure) and naming.is_called(r.case, selector)]
    names = {naming.name(_plain(r.case)) for r in records if isinstance(r, Measurement)}
    words = [f"no measured case named {selector!r} in {', '.join(map(str, sources))}"]
    words += [f"it failed at {failed[-1].stage}: {failed[-1].error}"] if failed else []
    listed = f"Cases on record: {', '.join(sorted(names)) or 'none'}"
    return UsageError("; ".join([*words, *trouble]), listed)


def _groups(records: Sequence[Record], selector: str) -> Iterator[list[Measurement]]:
    """The rounds of each selected case, in each environment, generation and label of a file.

    A run without a label belongs to the label of the run before.
    """
    given = {r.run_id: r.labels for r in records if isinstance(r, Environment)}
    found: dict[tuple[str, str, int, str], list[Measurement]] = {}
    last: dict[str, str] = {}
    for record in records:
        if not isinstance(record, Measurement):
            continue
        label = given.get(record.run_id, {}).get(record.case.model) or last.get(record.case_id, "")
        last[record.case_id] = label
        named = msgspec.structs.replace(record.case, label=label)
        if any(naming.is_called(case, selector) for case in (record.case, named)):
            key = (record.environment_id, record.case_id, record.generation, label)
            found.setdefault(key, []).append(record)
    yield from found.values()


def _plain(case: Case) -> Case:
    """The case without the hash of a file and without a label: equal for all its versions."""
    return msgspec.structs.replace(case, model=without_hash(case.model), label="")


def _point(rounds: Sequence[Measurement], records: Sequence[Record]) -> Point:
    case = rounds[0].case
    environments = [each for each in records if isinstance(each, Environment)]
    own = [each for each in environments if each.run_id == rounds[0].run_id]
    environment = own[-1] if own else unknown_environment(rounds[0])
    same = [
        each
        for each in records
        if isinstance(each, Measurement)
        and each.environment_id == rounds[0].environment_id
        and each.case.of_kernels == case.of_kernels
    ]
    kept = alike(rounds)
    started_at = starts(records).get(rounds[0].run_id, "")
    return Point(
        label=environment.labels.get(case.model)
        or started_at[:DATE].replace("T", " ")
        or "undated",
        started_at=started_at,
        case=case,
        environment=environment,
        rounds=kept,
        latency_s=stats.summarise([record.samples_s for record in kept]).latency,
        interval=interval(kept),
        verdict=judge_case(rounds, Machine(quiet_of(same), usable_cpus(environments))),
    )


def _compared(points: Sequence[Point], margin: float) -> list[Point]:
    """Each point compared with the reference, which moves where a change is decided.

    A slow drift of small steps is decided once it is large enough in total. An INVALID point is
    never a reference.
    """
    found: list[Point] = []
    reference: Point | None = None
    for point in points:
        changes = _changes(found[-1], point) if found else []
        is_valid = point.verdict.level != "INVALID"
        against = None
        if reference is not None and is_valid:
            against = compare(reference.rounds, point.rounds, margin=margin)
        found.append(
            msgspec.structs.replace(
                point,
                changes=changes,
                differs=_changes(reference, point) if reference else [],
                reference=reference.label if reference and against else "",
                against=against,
            )
        )
        if is_valid and (reference is None or found[-1].is_change):
            reference = found[-1]
    return found


def _changes(before: Point, after: Point) -> list[str]:
    """What differs between two points: the code, the weights, versions, facts of the machine."""
    found = []
    codes = [naming.code_of(each.case) for each in (before, after)]
    weights = [naming.weights_of(each.case) for each in (before, after)]
    if codes[0] != codes[1]:
        found.append("the code of the network")
    if weights[0] != weights[1]:
        found.append("the weights")
    runtimes = [each.rounds[0].runtime for each in (before, after)]
    for package in dict.fromkeys([*runtimes[0], *runtimes[1]]):
        old, new = (each.get(package, "none") for each in runtimes)
        if old != new:
            found.append(f"{package} {old} → {new}")
    return [*found, *differences(before.environment, after.environment)]

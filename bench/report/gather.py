"""The records of a report: gathered from folders of results, with one label for each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.analysis.gather import Gathered
from bench.analysis.gather import gather as read_all
from bench.analysis.recorded import MEASURE_FIRST
from bench.errors import UsageError
from bench.models import labels
from bench.models.labels import Label
from bench.records import (
    Evaluation,
    Failure,
    Measurement,
    Profile,
    Record,
    of_cases,
    of_evaluations,
    of_profiles,
)

WARNINGS_SHOWN = 20


class Folder(NamedTuple):
    """The folder of a device: the name of the device, and the path, a link if it is foreign."""

    slug: str
    path: Path


class Reading(NamedTuple):
    """What a page says about the files of results.

    `warnings` name the lines that could not be read, among others. `tallies` say per device how
    many lines were used, and why the others were not. `unreadable` name the devices that could not
    be read.
    """

    warnings: list[str]
    tallies: list[str]
    unreadable: list[str]

    @property
    def shown(self) -> list[str]:
        """What a page says of the warnings and of the devices that could not be read."""
        more = len(self.warnings) - WARNINGS_SHOWN
        rest = [f"and {more} more warnings"] * (more > 0)
        return [*self.unreadable, *self.warnings[:WARNINGS_SHOWN], *rest]


def gather(
    sources: Sequence[Path], texts: Sequence[str] = (), given: Sequence[Label] = ()
) -> tuple[dict[Folder, list[Record]], Reading]:
    """The records below `sources` by device folder, and what to say about the files.

    Folders of the same name are one device. The cases have the labels of `texts` (from --label),
    else of `given`, else of the latest run. A line that is not a record, or has another schema, is
    skipped with a warning. Raises UsageError if no record remains, if a source is not a folder, or
    for a wrong label.
    """
    gathered = read_all(sources)
    found = {
        Folder(each.slug, each.folder): each.records
        for each in gathered.devices
        if each.is_measured
    }
    warnings = [str(line) for each in gathered.devices for line in each.skipped]
    if not found:
        where = ", ".join(str(source) for source in sources)
        left_out = f"; {len(warnings)} lines left out, the first: {warnings[0]}" if warnings else ""
        message = f"no results to report in {where}{left_out}"
        raise UsageError("; ".join([message, *gathered.unreadable]), MEASURE_FIRST)
    warnings += [remark for each in gathered.devices for remark in each.remarks]
    warnings += [
        f"{path} has no measurement yet: skipped"
        for each in gathered.devices
        if not each.is_measured
        for path in each.paths
    ]
    tallies = [f"{each.slug}: {each.tally.text}" for each in gathered.devices]
    return _labelled(found, gathered, texts, given), Reading(warnings, tallies, gathered.unreadable)


def _labelled(
    found: Mapping[Folder, list[Record]],
    gathered: Gathered,
    texts: Sequence[str],
    given: Sequence[Label],
) -> dict[Folder, list[Record]]:
    """The same records with labels; a network has the same label on every device."""
    everything = [record for records in found.values() for record in records]
    models = [each.case.model for each in _with_case(everything)]
    recorded = labels.on_record(gathered.runs)
    known = labels.stamped(everything, labels.settled(recorded, models))
    cases = list(dict.fromkeys(each.case for each in _with_case(known)))
    chosen = labels.merged(recorded, labels.resolve(given, cases), labels.parse(texts, cases))
    unique = labels.settled(chosen, models)
    return {folder: labels.stamped(records, unique) for folder, records in found.items()}


def _with_case(records: Sequence[Record]) -> list[Measurement | Profile | Evaluation | Failure]:
    """The records that have a case: measurements first, since labels go by their order."""
    return [*of_cases(records), *of_profiles(records), *of_evaluations(records)]

"""Reading folders of results: the records of each device, pooled over all files of the device."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.analysis.tally import Tally, tally
from bench.errors import UsageError
from bench.records import Environment, Record, of_cases, of_evaluations, of_profiles
from bench.storage.order import disagreements, in_order
from bench.storage.pool import Repeats, pool
from bench.storage.reader import Flaw, SkippedLine, read, results_files


class DeviceRecords(NamedTuple):
    """The pooled records of one device.

    `slug` is the name of its folders, `paths` are its files. `folder` is the first of its folders
    that lies in a source, with links resolved; where all are links that lead out of the sources, it
    is the first link. `skipped` are the lines that are no records. `remarks` are sentences about
    the files: lines that several files have, and dates that contradict the order of the lines.
    `repeats` is the number of lines that several files have.
    """

    slug: str
    folder: Path
    paths: list[Path]
    records: list[Record]
    skipped: list[SkippedLine]
    remarks: list[str]
    repeats: int

    @property
    def tally(self) -> Tally:
        """How many lines a report uses, and why the others are left out."""
        flawed = sum(_lines(each) for each in self.skipped)
        return tally(self.records, self.repeats, flawed)

    @property
    def is_measured(self) -> bool:
        """Whether a case was measured, profiled or evaluated, or failed."""
        passes = (of_cases, of_profiles, of_evaluations)
        return any(any(each(self.records)) for each in passes)


class Gathered(NamedTuple):
    """All devices, by slug, and the environments of all runs, the latest at the end.

    `unreadable` are sentences that name the folders and files that could not be read.
    """

    devices: list[DeviceRecords]
    runs: list[Environment]
    unreadable: list[str]


class File(NamedTuple):
    """A file of results, its records, and the lines that are no records."""

    path: Path
    records: list[Record]
    skipped: list[SkippedLine]

    @property
    def slug(self) -> str:
        """The name of its folder, which is the device; of the link, if the file is a link."""
        return self.path.parent.resolve().name


def gather(sources: Sequence[Path]) -> Gathered:
    """The records below `sources`; the order of `sources` has no effect.

    Folders of the same name are one device. Raises UsageError if a source is not a folder.
    """
    files, unreadable = read_files(sources)
    by_slug: dict[str, list[File]] = {}
    for file in files:
        by_slug.setdefault(file.slug, []).append(file)
    homes = {source.resolve() for source in sources}
    devices = [_device(slug, several, homes) for slug, several in sorted(by_slug.items())]
    ordered = in_order([each.records for several in by_slug.values() for each in several])
    runs = [each for records in ordered for each in records if isinstance(each, Environment)]
    return Gathered(devices, runs, unreadable)


def read_files(sources: Sequence[Path]) -> tuple[list[File], list[str]]:
    """The files below `sources`, each once and in one order, and sentences on what is unreadable.

    Raises UsageError if a source is not a folder.
    """
    named = [results_files(source) for source in sources]
    unreadable = {sentence for _, sentences in named for sentence in sentences}
    paths: dict[str, Path] = {}
    for path in sorted({path for found, _ in named for path in found}):
        paths.setdefault(os.path.realpath(path), path)
    files = []
    for path in paths.values():
        try:
            files.append(File(path, *read(path)))
        except UsageError as error:
            unreadable.add(error.message)
    return files, sorted(unreadable)


def check_schema(skipped: Iterable[SkippedLine]) -> None:
    """Raise UsageError if a line was skipped since its record has another schema version."""
    for each in skipped:
        if each.flaw is Flaw.SCHEMA:
            raise UsageError(str(each), "Read this file with the version of bench that wrote it.")


def _device(slug: str, files: Sequence[File], homes: Collection[Path]) -> DeviceRecords:
    pooled = pool([file.records for file in files])
    skipped = [each for file in files for each in file.skipped]
    return DeviceRecords(
        slug=slug,
        folder=_own([file.path.parent for file in files], homes),
        paths=[file.path for file in files],
        records=pooled.records,
        skipped=skipped,
        remarks=[*_repeated(files, pooled.repeats), *_disagreements(files)],
        repeats=sum(each.lines for each in pooled.repeats),
    )


def _own(folders: Sequence[Path], homes: Collection[Path]) -> Path:
    """The first folder that is one of `homes` or lies in one, resolved; else the first as named."""
    for folder in (each.resolve() for each in folders):
        if folder in homes or folder.parent in homes:
            return folder
    return folders[0]


def _lines(skipped: SkippedLine) -> int:
    """The number of lines that were skipped; the last item counts all further lines."""
    return int(skipped.detail) if skipped.flaw is Flaw.MORE else 1


def _repeated(files: Sequence[File], repeats: Sequence[Repeats]) -> Iterator[str]:
    for each in repeats:
        lines = "1 line is" if each.lines == 1 else f"{each.lines} lines are"
        where = "repeated" if each.file == each.other else f"also in {files[each.other].path}"
        yield f"{files[each.file].path}: {lines} {where}, and each counts once"


def _disagreements(files: Sequence[File]) -> Iterator[str]:
    for file in files:
        if dates := next(disagreements(file.records), None):
            yield (
                f"{file.path}: the run of {dates[1]} is recorded after the run of {dates[0]}, so a "
                "clock was wrong; the order of the records decides which run is the latest"
            )

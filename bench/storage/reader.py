"""Reading `results.jsonl`: each line is a record, or is skipped for a reason."""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from bench.errors import UsageError
from bench.records import SCHEMA, CaseRecord, Record
from bench.storage.files import open_regular
from bench.text import printable

FILE_NAME = "results.jsonl"
CHUNK_BYTES = 2**23
MOST_SKIPPED = 1000
LINE_BYTES = 2**26  # upper limit; every record is shorter
RECORDS: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class Flaw(enum.Enum):
    """Why a line was skipped; the value is the warning. MORE counts all further lines."""

    DAMAGED = "{path}:{line} is not a record and was left out: {detail}"
    SCHEMA = "{path}:{line} has schema {detail}: left out"
    FOREIGN_ID = (
        "{path}:{line} is not a record and was left out: its case_id belongs to another case"
    )
    MORE = "{path}: {detail} more lines are not records and were left out"


class SkippedLine(NamedTuple):
    """A line that was skipped, with its flaw; `str` gives the warning."""

    path: Path
    line: int
    flaw: Flaw
    detail: str = ""

    def __str__(self) -> str:
        return self.flaw.value.format(path=self.path, line=self.line, detail=self.detail)


class Place(NamedTuple):
    """Offset and length of a line in its file, in bytes."""

    start: int
    size: int


class FlawedLineError(ValueError):
    """The line is not a record of this schema. `detail` may quote the line."""

    def __init__(self, flaw: Flaw, detail: str = "") -> None:
        super().__init__(flaw, detail)
        self.flaw = flaw
        self.detail = detail


def results_files(source: Path) -> tuple[list[Path], list[str]]:
    """The result files in `source` and in its subfolders, and sentences on what cannot be read.

    Each subfolder is a device. Raises UsageError if `source` is not a folder.
    """
    found: list[Path] = []
    unreadable: list[str] = []
    for folder in (source, *_entries(source, unreadable)):
        path = folder / FILE_NAME
        try:
            os.stat(path)
        except OSError as error:
            unreadable += _unreadable(folder, error)
        else:
            found.append(path)
    return found, unreadable


def _entries(source: Path, unreadable: list[str]) -> list[Path]:
    """The entries of a folder, sorted. Raises UsageError if `source` is not a folder."""
    try:
        return sorted(source / name for name in os.listdir(source) if name != FILE_NAME)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no path can hold a zero byte
        reason = "is a file, not a folder" if source.exists() else "does not exist"
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            unreadable.append(f"cannot read {source}: {error.strerror}")
            return []
        reason = f"cannot be read: {error.strerror}"
    raise UsageError(f"{source} {reason}", "Name the folder that `bench run --out` wrote to.")


def _unreadable(folder: Path, error: OSError) -> Iterator[str]:
    """A sentence, if the results of a folder cannot be read; nothing if it has no results."""
    if isinstance(error, NotADirectoryError):
        return
    if not isinstance(error, FileNotFoundError):
        yield f"cannot read {folder}: {error.strerror}"
    elif os.path.lexists(folder / FILE_NAME):
        yield f"cannot read {folder / FILE_NAME}: it is a link to a file that does not exist"
    elif folder.is_symlink() and not folder.exists() and not folder.name.startswith("."):
        yield f"cannot read {folder}: it is a link to a folder that does not exist"


def read(path: Path) -> tuple[list[Record], list[SkippedLine]]:
    """All records of a file in order, and the lines that were skipped.

    Raises UsageError if the file cannot be read.
    """
    records: list[Record] = []
    unread: list[SkippedLine] = []
    try:
        with open_regular(path) as file:
            for _, found in iter_records(file, path):
                if isinstance(found, SkippedLine):
                    unread.append(found)
                else:
                    records.append(found)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "Move it away, or choose another folder."
        ) from error
    return records, unread


def iter_records(file: IO[bytes], path: Path) -> Iterator[tuple[Place, Record | SkippedLine]]:
    """The lines of an open file: the place of each, and its record or why it was skipped.

    After MOST_SKIPPED skipped lines, one last item counts the remaining skipped lines.
    """
    skipped = number = 0
    place = Place(0, 0)
    for number, (start, line) in enumerate(_lines(file), 1):
        place = Place(start, len(line))
        found: Record | SkippedLine
        try:
            found = checked(line)
        except FlawedLineError as error:
            skipped += 1
            if skipped > MOST_SKIPPED:
                continue
            found = SkippedLine(path, number, error.flaw, error.detail)
        yield place, found
    if skipped > MOST_SKIPPED:
        yield place, SkippedLine(path, number, Flaw.MORE, str(skipped - MOST_SKIPPED))


def unfinished_line(path: Path) -> bytes:
    """The bytes after the last newline; not empty if a run was killed while it wrote a line.

    Raises OSError if the file cannot be read or the line has more than LINE_BYTES bytes.
    """
    with open_regular(path) as file:
        start = end = file.seek(0, os.SEEK_END)
        line = b""
        while start and b"\n" not in line:
            if len(line) > LINE_BYTES:
                raise OSError(errno.EFBIG, f"its last line has more than {LINE_BYTES} bytes")
            start = max(start - CHUNK_BYTES, 0)
            file.seek(start)
            line = file.read(min(end - start, CHUNK_BYTES)) + line
            end = start
        return line.rpartition(b"\n")[2]


def decode(line: bytes) -> Record:
    """The record in a line, of any schema version. Raises FlawedLineError if there is none."""
    if len(line) > LINE_BYTES:
        raise FlawedLineError(Flaw.DAMAGED, f"it has more than {LINE_BYTES} bytes")
    try:
        return RECORDS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FlawedLineError(Flaw.DAMAGED, printable(str(error))) from None


def checked(line: bytes) -> Record:
    """The record in a line. Raises FlawedLineError for another schema or a wrong case_id."""
    record = decode(line)
    if record.schema != SCHEMA:
        raise FlawedLineError(Flaw.SCHEMA, f"{record.schema}, not {SCHEMA}")
    if isinstance(record, CaseRecord) and record.case_id != record.case.case_id:
        raise FlawedLineError(Flaw.FOREIGN_ID)
    return record


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The offset and the bytes of each line; only LINE_BYTES + 1 bytes of a line that is longer."""
    start = 0
    while line := file.readline(LINE_BYTES + 1):
        yield start, line
        start += len(line)
        while len(line) > LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES + 1)
            start += len(line)

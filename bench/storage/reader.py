"""Reading `results.jsonl`: its lines as records, and why a line could not be read as one."""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from bench.errors import UsageError
from bench.records import SCHEMA, Failure, Measurement, Profile, Record
from bench.storage.files import opened
from bench.text import printable

FILE_NAME = "results.jsonl"
CHUNK_BYTES = 2**23
MOST_UNREAD = 1000
LINE_BYTES = 2**26  # more than any record has


class Flaw(enum.Enum):
    """Why a line, or all MORE lines, were left out; the value is the sentence that says so."""

    DAMAGED = "{path}:{line} is not a record and was left out: {detail}"
    SCHEMA = "{path}:{line} has schema {detail}: left out"
    FOREIGN_ID = "{path}:{line} is not a record and was left out: its case_id is another's"
    MORE = "{path}: {detail} more lines are not records and were left out"


class Unread(NamedTuple):
    """A line that was left out (MORE: all lines after it, too); as text, the warning."""

    path: Path
    line: int
    flaw: Flaw
    detail: str = ""

    def __str__(self) -> str:
        return self.flaw.value.format(path=self.path, line=self.line, detail=self.detail)


class Place(NamedTuple):
    """Where in a file a line is, in bytes."""

    start: int
    size: int


class FlawedLineError(ValueError):
    """A line that is not a record of ours. `detail` may hold words of the line."""

    def __init__(self, flaw: Flaw, detail: str = "") -> None:
        super().__init__(flaw, detail)
        self.flaw = flaw
        self.detail = detail


def files_below(source: Path) -> list[Path]:
    """The results of one folder: of the devices below it, or its own.

    Raises UsageError where it is no folder that can be read.
    """
    try:
        if source.is_dir():
            return sorted({*source.glob(f"*/{FILE_NAME}"), *source.glob(FILE_NAME)})
        reason = "is a file, not a folder" if source.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    raise UsageError(f"{source} {reason}", "Name the folder that `bench run --out` wrote to.")


def read(path: Path) -> tuple[list[Record], list[Unread]]:
    """All records of a file in order, and each line that could not be read as a record.

    Raises UsageError where the file cannot be read.
    """
    records: list[Record] = []
    unread: list[Unread] = []
    try:
        with opened(path) as file:
            for _, found in records_of(file, path):
                if isinstance(found, Unread):
                    unread.append(found)
                else:
                    records.append(found)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "Move it away, or choose another folder."
        ) from error
    return records, unread


def records_of(file: IO[bytes], path: Path) -> Iterator[tuple[Place, Record | Unread]]:
    """Each line of a file that is open for reading: its place, and its record or its flaw.

    Of more than MOST_UNREAD lines without a record, the last one only counts the rest.
    """
    left_out = number = 0
    place = Place(0, 0)
    for number, (start, line) in enumerate(_lines(file), 1):
        place = Place(start, len(line))
        found: Record | Unread
        try:
            found = _own(line)
        except FlawedLineError as error:
            left_out += 1
            if left_out > MOST_UNREAD:
                continue
            found = Unread(path, number, error.flaw, error.detail)
        yield place, found
    if left_out > MOST_UNREAD:
        yield place, Unread(path, number, Flaw.MORE, str(left_out - MOST_UNREAD))


def unfinished(path: Path) -> bytes:
    """What follows the last end of a line: nothing, unless a run was killed while writing."""
    with opened(path) as file:
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


def decoded(line: bytes) -> Record:
    """The record of a line, of whatever schema. Raises FlawedLineError where there is none."""
    if len(line) > LINE_BYTES:
        raise FlawedLineError(Flaw.DAMAGED, f"it has more than {LINE_BYTES} bytes")
    try:
        record: Record = msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FlawedLineError(Flaw.DAMAGED, printable(str(error))) from None
    return record


def _own(line: bytes) -> Record:
    """The record of a line, of our schema and with its own id. Raises FlawedLineError."""
    record = decoded(line)
    if record.schema != SCHEMA:
        raise FlawedLineError(Flaw.SCHEMA, f"{record.schema}, not {SCHEMA}")
    if isinstance(record, Measurement | Failure | Profile) and (
        record.case_id != record.case.case_id
    ):
        raise FlawedLineError(Flaw.FOREIGN_ID)
    return record


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines and where they begin; of one that is too long, no more than shows that it is."""
    start = 0
    while line := file.readline(LINE_BYTES + 1):
        yield start, line
        start += len(line)
        while len(line) > LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES + 1)
            start += len(line)

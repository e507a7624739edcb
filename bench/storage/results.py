"""`results.jsonl`: append one record, read them all, and what they say of a case."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from bench.errors import UsageError
from bench.records import (
    SCHEMA,
    Case,
    Chip,
    Environment,
    Failure,
    Measurement,
    Profile,
    Record,
    of_cases,
)
from bench.storage import lock
from bench.storage.files import created, is_at, made, opened
from bench.text import printable

FILE_NAME = "results.jsonl"
TORN_SUFFIX = ".torn"
CHUNK_BYTES = 2**23
MOST_WARNINGS = 1000
LINE_BYTES = 2**26  # more than any record has
CHOOSE_OUT = "Choose a folder that you may write to with --out."


class Place(NamedTuple):
    """Where in a file a line is, in bytes."""

    start: int
    size: int


class History(NamedTuple):
    """What is on record of one case in one environment.

    `failure` is the last one, unless a later round succeeded.
    """

    rounds: list[Measurement]
    failure: Failure | None


class Store:
    """The records of one device: a file for which this process has the lock while it is open.

    In memory is only where in the file the records of each case are, as of when it was opened and
    what was added since: a run may go on for as long as it likes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.warnings: list[str] = []
        self._file: IO[bytes] | None = None
        self._places: dict[tuple[str, str], list[Place]] = {}

    @property
    def records(self) -> list[Record]:
        """All that is there, without touching anything; nothing where there is no file.

        Raises UsageError where it cannot be read.
        """
        try:
            return read(self.path)[0] if self.path.exists() else []
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}", CHOOSE_OUT) from error

    def open(self, on_wait: lock.OnWait | None = None) -> None:
        """Make the folder, be alone in writing here, mend the last line, read what is there.

        Waits for another run as `lock.hold` does. Raises UsageError where there is one, or where
        the folder cannot be made or written to.
        """
        self.close()
        try:
            self._file = _made(self.path)
            lock.hold(self._file, f"writing to {self.path}", on_wait)
            self._check_in_place(self._file)
            self._mend_last_line(self._file)
            self._find_records()
        except OSError as error:
            self.close()
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}", CHOOSE_OUT
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another run write here."""
        if self._file is not None:
            self._file.close()

    def append(self, record: Record) -> None:
        """Add one record, and have it on the disk before returning.

        Raises UsageError where that is not possible; what was written of it is then cut off again.
        """
        assert self._file is not None
        line = msgspec.json.encode(record) + b"\n"
        try:
            self._check_in_place(self._file)
            place = Place(_write(self._file, line), len(line))
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}",
                "Make room, or mend the disk; what was written before is safe, "
                "and the same command goes on.",
            ) from error
        self._remember(record, place)

    def of(self, case: Case | None, environment_id: str) -> list[Record]:
        """What is on record of `case` in this environment, in order; of None, what has no case.

        Raises UsageError where somebody else has written to the file.
        """
        assert self._file is not None
        places = self._places.get((environment_id, case.case_id if case else ""), [])
        lines = [os.pread(self._file.fileno(), place.size, place.start) for place in places]
        records = [record for line in lines if not isinstance(record := _decoded(line), str)]
        if len(records) < len(lines):
            raise UsageError(
                f"{self.path} was changed while this run was writing to it",
                "Run the same command again: it goes on with what is there.",
            )
        return records

    def history(self, case: Case, environment_id: str) -> History:
        """What is on record of `case` in this environment."""
        return history(self.of(case, environment_id), case, environment_id)

    def _find_records(self) -> None:
        self._places = {}
        with opened(self.path) as file:
            for place, record in _each(file, self.path):
                if isinstance(record, str):
                    self.warnings.append(record)
                else:
                    self._remember(record, place)

    def _remember(self, record: Record, place: Place) -> None:
        key = (record.environment_id, getattr(record, "case_id", ""))
        self._places.setdefault(key, []).append(place)

    def _check_in_place(self, file: IO[bytes]) -> None:
        """Raise UsageError where what is written to `file` would not be found at the path."""
        if not is_at(self.path, file):
            fate = "replaced" if self.path.exists() else "removed"
            raise UsageError(
                f"{self.path} was {fate} while this run was writing to it",
                "Its finished rounds are in the file that was there: put that back, "
                "and the same command goes on.",
            )

    def _mend_last_line(self, file: IO[bytes]) -> None:
        """A run that was killed while writing leaves half a line: move it to a file beside.

        Where only the end of the line is missing, nothing is lost: it gets one.
        """
        line = unfinished(self.path)
        if not line:
            return
        if isinstance(_decoded(line), str):
            aside = self.path.with_name(FILE_NAME + TORN_SUFFIX)
            with created(aside, os.O_APPEND) as torn:
                _write(torn, line + b"\n")
            os.ftruncate(file.fileno(), self.path.stat().st_size - len(line))
            said = f"ended in a torn line of {len(line)} bytes: set aside in {aside.name}"
        else:
            _write(file, b"\n")
            said = "ended in a whole record without the end of its line, which it now has"
        self.warnings.append(f"{self.path} {said}")


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


def _made(path: Path) -> IO[bytes]:
    """A file to append to, made with its folders where there is none, and not to be lost again."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    number = made(path, os.O_RDWR | os.O_APPEND)
    file = os.fdopen(number, "ab", buffering=0)  # a buffer would keep what the disk did not take
    for each in new:
        with contextlib.suppress(OSError):  # not every file system lets a folder be flushed
            folder = os.open(each.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    return file


def _write(file: IO[bytes], line: bytes) -> int:
    """Append the whole of `line` and have it on the disk, or nothing of it; where it begins.

    Raises OSError.
    """
    size = os.fstat(file.fileno()).st_size
    left = memoryview(line)
    try:
        while left:
            left = left[os.write(file.fileno(), left) :]
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise
    return size


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


def read(path: Path) -> tuple[list[Record], list[str]]:
    """All records of a file in order, and a warning for each line that is none.

    Raises UsageError where the file cannot be read.
    """
    records: list[Record] = []
    warnings: list[str] = []
    try:
        with opened(path) as file:
            for _, record in _each(file, path):
                if isinstance(record, str):
                    warnings.append(record)
                else:
                    records.append(record)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "Move it away, or choose another folder."
        ) from error
    return records, warnings


def _each(file: IO[bytes], path: Path) -> Iterator[tuple[Place, Record | str]]:
    """The records of a file and where they are; a warning in place of what is none.

    Of very many of those the last warning says only how many there are.
    """
    left_out = 0
    place = Place(0, 0)
    for number, (start, line) in enumerate(_lines(file), 1):
        place, record = Place(start, len(line)), _of_ours(line)
        if isinstance(record, str):
            left_out += 1
            if left_out > MOST_WARNINGS:
                continue
            record = f"{path}:{number} {record}"
        yield place, record
    if left_out > MOST_WARNINGS:
        more = left_out - MOST_WARNINGS
        yield place, f"{path}: {more} more lines are not records and were left out"


def _of_ours(line: bytes) -> Record | str:
    """The record; or why it is left out."""
    record = _decoded(line)
    if isinstance(record, str):
        return f"is not a record and was left out: {record}"
    if record.schema != SCHEMA:
        return f"has schema {record.schema}, not {SCHEMA}: left out"
    if isinstance(record, Measurement | Failure | Profile) and (
        record.case_id != record.case.case_id
    ):
        return "is not a record and was left out: its case_id is another's"
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


def _decoded(line: bytes) -> Record | str:
    """The record, or why it is none: in words that may hold some of the line's."""
    if len(line) > LINE_BYTES:
        return f"it has more than {LINE_BYTES} bytes"
    try:
        record: Record = msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return printable(str(error))
    return record


def history(records: Iterable[Record], case: Case, environment_id: str) -> History:
    """The rounds of `case` in one environment, each once, and its failure if that came last."""
    wanted = (environment_id, case.case_id)
    rounds: dict[int, Measurement] = {}
    failure: Failure | None = None
    for record in of_cases(records):
        if (record.environment_id, record.case_id) != wanted:
            continue
        if isinstance(record, Failure):
            failure = record
        else:
            rounds.setdefault(record.round, record)
            failure = None
    return History(list(rounds.values()), failure)


def unknown_environment(record: Measurement | Failure | Profile) -> Environment:
    """For records whose environment is not on record, which `bench run` never leaves."""
    device = record.case.device
    chip = Chip(device=device, kind="", name=f"unknown {device}", threads=0, facts={})
    return Environment(record.run_id, record.environment_id, chip, {}, {}, "", "")

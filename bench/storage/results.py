"""The store: the `results.jsonl` of one device. One process at a time appends records."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from bench.errors import UsageError
from bench.records import Case, Environment, Evaluation, Measurement, Profile, Record
from bench.storage import lock
from bench.storage.files import is_at, open_or_create, open_regular, open_to_write
from bench.storage.history import History, history
from bench.storage.reader import (
    FILE_NAME,
    FlawedLineError,
    Place,
    SkippedLine,
    decode,
    iter_records,
    read,
    unfinished_line,
)


class UnreadableRecordError(UsageError):
    """The reader would refuse the record, so it was not written."""


TORN_SUFFIX = ".torn"
CHOOSE_OUT = "Use --out to choose a folder that you may write to."


class Store:
    """The records of one device in a file, which this process locks while the store is open.

    Memory holds only the places of each case's records in the file, so the memory of a long run
    does not grow with its samples.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.warnings: list[str] = []
        self._file: IO[bytes] | None = None
        self._places: dict[tuple[str, str], list[Place]] = {}
        self.has_grown = False  # whether a measured round was appended since the store was made

    @property
    def records(self) -> list[Record]:
        """All records in the file, read without a lock; empty if there is no file.

        Raises UsageError if the file cannot be read.
        """
        try:
            os.stat(self.path)  # since Python 3.14, Path.exists is False for a name too long
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}", CHOOSE_OUT) from error
        return read(self.path)[0]

    def open(self, on_wait: lock.OnWait | None = None) -> None:
        """Make the folder, lock the file, repair the last line and index the records.

        Waits for another run as `lock.acquire` does. Raises UsageError if another run holds the
        lock, or if the folder cannot be made or written to.
        """
        self.close()
        try:
            self._file = _made(self.path)
            lock.acquire(self._file, self._writing, on_wait)
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

    def let_others_end(self, on_wait: lock.OnWait | None = None) -> None:
        """Do what `open` does while another run holds the lock. Locks and makes nothing."""
        with contextlib.suppress(OSError), open_regular(self.path) as file:
            lock.acquire(file, self._writing, on_wait)

    @property
    def _writing(self) -> str:
        return f"writing to {self.path}"

    def close(self) -> None:
        """Close the file, which frees the lock."""
        if self._file is not None:
            self._file.close()

    def append(self, record: Record) -> None:
        """Append one record and flush it to the disk.

        Raises UnreadableRecordError, and writes nothing, if the reader would refuse the record.
        Raises UsageError if the write fails; a partly written record is removed again.
        """
        assert self._file is not None
        line = msgspec.json.encode(record) + b"\n"
        try:
            decode(line)
        except FlawedLineError as error:
            raise UnreadableRecordError(
                f"the record cannot be read back: {error.detail}",
                "Report this as a fault of bench, with the command.",
            ) from None
        try:
            self._check_in_place(self._file)
            place = Place(_write(self._file, line), len(line))
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}",
                "Make room on the disk or repair it. Earlier records are safe: run the same "
                "command again to resume.",
            ) from error
        self._remember(record, place)
        self.has_grown |= isinstance(record, (Measurement, Profile, Evaluation))

    def records_of(self, case: Case | None, environment_id: str) -> list[Record]:
        """The records of `case` in one environment, in file order; None: records without a case.

        Raises UsageError if another program has changed the file.
        """
        return self._read(self._places.get((environment_id, case.case_id if case else ""), []))

    def _read(self, places: Sequence[Place]) -> list[Record]:
        assert self._file is not None
        lines = [os.pread(self._file.fileno(), place.size, place.start) for place in places]
        try:
            return [decode(line) for line in lines]
        except FlawedLineError:
            raise UsageError(
                f"{self.path} was changed while this run was writing to it",
                "Run the same command again: it resumes with the records in the file.",
            ) from None

    def environments(self) -> list[Environment]:
        """The environments of all runs, in file order. Raises UsageError as `records_of` does."""
        own = [places for (_, case_id), places in self._places.items() if not case_id]
        found = self._read(sorted(place for places in own for place in places))
        return [record for record in found if isinstance(record, Environment)]

    def history(self, case: Case, environment_id: str, generation: int | None = None) -> History:
        """The rounds and the failure of `case` in one environment. Raises UsageError."""
        return history(self.records_of(case, environment_id), case, environment_id, generation)

    def _find_records(self) -> None:
        self._places = {}
        with open_regular(self.path) as file:
            for place, found in iter_records(file, self.path):
                if isinstance(found, SkippedLine):
                    self.warnings.append(str(found))
                else:
                    self._remember(found, place)

    def _remember(self, record: Record, place: Place) -> None:
        key = (record.environment_id, getattr(record, "case_id", ""))
        self._places.setdefault(key, []).append(place)

    def _check_in_place(self, file: IO[bytes]) -> None:
        """Raise UsageError if the path no longer names `file`, so that records would be lost."""
        if not is_at(self.path, file):
            fate = "replaced" if self.path.exists() else "removed"
            raise UsageError(
                f"{self.path} was {fate} while this run was writing to it",
                "The finished rounds are in the original file. Put that file back, then run the "
                "same command again to resume.",
            )

    def _mend_last_line(self, file: IO[bytes]) -> None:
        """Repair a last line without a newline, which a run leaves if it is killed while writing.

        A whole record gets its newline. Half a record moves to another file in the same folder.
        """
        line = unfinished_line(self.path)
        if not line:
            return
        try:
            decode(line)
        except FlawedLineError:
            aside = self.path.with_name(FILE_NAME + TORN_SUFFIX)
            with open_to_write(aside, os.O_APPEND) as torn:
                _write(torn, line + b"\n")
            os.ftruncate(file.fileno(), self.path.stat().st_size - len(line))
            repair = f"ended in a torn line of {len(line)} bytes: set aside in {aside.name}"
        else:
            _write(file, b"\n")
            repair = "ended in a whole record without a newline: the newline was added"
        self.warnings.append(f"{self.path} {repair}")


def _made(path: Path) -> IO[bytes]:
    """Open a file to append to it; create it and its folders, and flush the new entries to disk."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    number = open_or_create(path, os.O_RDWR | os.O_APPEND)
    file = os.fdopen(number, "ab", buffering=0)  # unbuffered: a failed write leaves nothing behind
    for each in new:
        with contextlib.suppress(OSError):  # not every file system can flush a folder
            folder = os.open(each.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    return file


def _write(file: IO[bytes], line: bytes) -> int:
    """Append the whole `line` and flush it; returns its offset in the file.

    Raises OSError; the file then has its earlier size again.
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

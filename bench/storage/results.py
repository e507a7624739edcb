"""The store: `results.jsonl` of one device, to which one process at a time appends records."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

import msgspec

from bench.errors import UsageError
from bench.records import Case, Environment, Record
from bench.storage import lock
from bench.storage.files import created, is_at, made, opened
from bench.storage.history import History, history
from bench.storage.reader import (
    FILE_NAME,
    FlawedLineError,
    Place,
    Unread,
    decoded,
    read,
    records_of,
    unfinished,
)

TORN_SUFFIX = ".torn"
CHOOSE_OUT = "Choose a folder that you may write to with --out."


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
        try:
            return [decoded(line) for line in lines]
        except FlawedLineError:
            raise UsageError(
                f"{self.path} was changed while this run was writing to it",
                "Run the same command again: it goes on with what is there.",
            ) from None

    def environments(self) -> list[Environment]:
        """The environments of all runs on record."""
        ids = dict.fromkeys(environment_id for environment_id, _ in self._places)
        found = [record for each in ids for record in self.of(None, each)]
        return [record for record in found if isinstance(record, Environment)]

    def history(self, case: Case, environment_id: str) -> History:
        """What is on record of `case` in this environment."""
        return history(self.of(case, environment_id), case, environment_id)

    def _find_records(self) -> None:
        self._places = {}
        with opened(self.path) as file:
            for place, found in records_of(file, self.path):
                if isinstance(found, Unread):
                    self.warnings.append(str(found))
                else:
                    self._remember(found, place)

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
        try:
            decoded(line)
        except FlawedLineError:
            aside = self.path.with_name(FILE_NAME + TORN_SUFFIX)
            with created(aside, os.O_APPEND) as torn:
                _write(torn, line + b"\n")
            os.ftruncate(file.fileno(), self.path.stat().st_size - len(line))
            said = f"ended in a torn line of {len(line)} bytes: set aside in {aside.name}"
        else:
            _write(file, b"\n")
            said = "ended in a whole record without the end of its line, which it now has"
        self.warnings.append(f"{self.path} {said}")


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

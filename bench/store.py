"""`results.jsonl`: append one record, read them all, and what they say of a case."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Sequence
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

FILE_NAME = "results.jsonl"
TORN_SUFFIX = ".torn"
LOCK_PATIENCE_S = 3.0  # the last moments of a killed run may last that long
CHOOSE_OUT = "Choose a folder that you may write to with --out."


class History(NamedTuple):
    """What is on record of one case in one environment.

    `failure` is the last one, unless a later round succeeded.
    """

    rounds: list[Measurement]
    failure: Failure | None


class Store:
    """The records of one device. Nothing is kept in memory but what was read when it was opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.warnings: list[str] = []
        self.records: list[Record] = []
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Make the folder, set a torn last line aside, read what is there.

        Raises UsageError where the folder cannot be made or written to.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.close()
            self._lock = self.path.open("ab")
            self._hold_lock()
            self._set_torn_line_aside()
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}", CHOOSE_OUT
            ) from error
        self.records, self.warnings = read(self.path, self.warnings)

    def close(self) -> None:
        """Let another run write here."""
        if self._lock is not None:
            self._lock.close()

    def peek(self) -> list[Record]:
        """What is there, without touching anything; nothing where there is no file."""
        try:
            return read(self.path)[0] if self.path.exists() else []
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}", CHOOSE_OUT) from error

    def append(self, record: Record) -> None:
        """Add one record, and have it on the disk before returning. Raises UsageError."""
        try:
            with self.path.open("ab") as file:
                file.write(msgspec.json.encode(record) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}",
                "Make room; what was written before is safe, and the same command goes on.",
            ) from error
        self.records.append(record)

    def history(self, case: Case, environment_id: str) -> History:
        """What is on record of `case` in this environment."""
        return history(self.records, case, environment_id)

    def _hold_lock(self) -> None:
        """Be the only run that writes here; the kernel frees the lock when this process ends."""
        assert self._lock is not None
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"another run is writing to {self.path}",
                        "Wait for it, or choose another folder with --out.",
                    ) from None
                time.sleep(0.1)
            else:
                return

    def _set_torn_line_aside(self) -> None:
        """A run that was killed while writing leaves half a line: move it to a file beside."""
        data = self.path.read_bytes()
        torn = data[data.rfind(b"\n") + 1 :]
        if not torn:
            return
        aside = self.path.with_name(FILE_NAME + TORN_SUFFIX)
        with aside.open("ab") as file:
            file.write(torn + b"\n")
        os.truncate(self.path, len(data) - len(torn))
        self.warnings.append(
            f"{self.path} ended in a torn line of {len(torn)} bytes: set aside in {aside.name}"
        )


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


def read(path: Path, warnings: Sequence[str] = ()) -> tuple[list[Record], list[str]]:
    """All records of a file in order, and a warning for each line that is none.

    Raises UsageError where the file cannot be read.
    """
    records: list[Record] = []
    warned = list(warnings)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "Move it away, or choose another folder."
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            record: Record = msgspec.json.decode(line, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            warned.append(f"{path}:{number} is not a record and was left out: {error}")
            continue
        if record.schema == SCHEMA:
            records.append(record)
        else:
            warned.append(f"{path}:{number} has schema {record.schema}, not {SCHEMA}: left out")
    return records, warned


def history(records: Iterable[Record], case: Case, environment_id: str) -> History:
    """The rounds of `case` in one environment, each once, and its failure if that came last."""
    rounds: dict[int, Measurement] = {}
    failure: Failure | None = None
    for record in of_cases(records):
        if (record.environment_id, record.case_id) != (environment_id, case.case_id):
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

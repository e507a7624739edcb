"""`results.jsonl`: append one record, read them all, and what they say of a case."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.errors import UsageError
from bench.records import SCHEMA, Case, Environment, Failure, Measurement, Record

FILE_NAME = "results.jsonl"
TORN_SUFFIX = ".torn"


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

    def open(self) -> None:
        """Make the folder, set a torn last line aside, read what is there.

        Raises UsageError where the folder cannot be made or written to.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
            self._set_torn_line_aside()
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}",
                "Choose a folder that you may write to with --out.",
            ) from error
        self.records, self.warnings = read(self.path, self.warnings)

    def peek(self) -> list[Record]:
        """What is there, without touching anything; nothing where there is no file."""
        return read(self.path)[0] if self.path.exists() else []

    def append(self, record: Record) -> None:
        """Add one record, and have it on the disk before returning."""
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)

    def history(self, case: Case, environment_id: str) -> History:
        """What is on record of `case` in this environment."""
        return history(self.records, case, environment_id)

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


def read(path: Path, warnings: Sequence[str] = ()) -> tuple[list[Record], list[str]]:
    """All records of a file in order, and a warning for each line that is none.

    Raises UsageError where the file cannot be read.
    """
    records: list[Record] = []
    warned = list(warnings)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            record: Record = msgspec.json.decode(line, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            warned.append(f"{path}:{number} is not a record and was left out: {error}")
            continue
        if record.schema == SCHEMA:
            records.append(record)
        else:
            warned.append(f"{path}:{number} has schema {record.schema}, not {SCHEMA}: left out")
    return records, warned


def history(records: Iterable[Record], case: Case, environment_id: str) -> History:
    """The rounds of `case` in one environment, in order, and its failure if that came last."""
    rounds: list[Measurement] = []
    failure: Failure | None = None
    for record in records:
        if isinstance(record, Environment) or record.environment_id != environment_id:
            continue
        if record.case_id != case.case_id:
            continue
        if isinstance(record, Failure):
            failure = record
        else:
            rounds.append(record)
            failure = None
    return History(rounds, failure)

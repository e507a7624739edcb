"""Pooling: the records of several files of one device, as one list.

The same files give the same list in any order. A line that several files have counts once. A
generation of `bench run --again` replaces earlier rounds of its own file, not those of another one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from bench.records import APART, CaseRecord, Evaluation, Failure, Profile, Record
from bench.storage.history import newest_generation
from bench.storage.order import Age, age, starts

CaseKey = tuple[str, str, str]  # environment, case, and the pass if nothing was timed


class Repeats(NamedTuple):
    """How many lines of the file number `file` stand also in the file number `other`.

    Numbers count from 0; they are equal where a line stands in one file several times.
    """

    file: int
    other: int
    lines: int


class Pool(NamedTuple):
    """The records that remain, each line once, and the lines that were left out as repeats."""

    records: list[Record]
    repeats: list[Repeats]


class _Line(NamedTuple):
    record: Record
    digest: bytes
    file: int


class _Part(NamedTuple):
    """Lines of one file, in order; equal parts are as old as each other."""

    age: Age
    lines: list[_Line]

    @property
    def key(self) -> tuple[object, ...]:
        return (self.age, len(self.lines), [line.digest for line in self.lines])


def pool(files: Sequence[Sequence[Record]]) -> Pool:
    """Pool the records of `files`, the latest file last.

    Of a repeated line, the one in the latest file counts. The records of a case are in the order of
    the runs that measured that case, which may differ from the order of the files.
    """
    began = [starts(records) for records in files]
    parts = _numbered(files)
    generations = _generations(parts)
    whole = _merged(_part(lines, began) for lines in parts)
    grouped: dict[CaseKey, list[list[_Line]]] = {}
    for lines in parts:
        for key, own in _by_case(lines).items():
            grouped.setdefault(key, []).append(own)
    ordered = {
        key: iter(_merged(_part(own, began) for own in several)) for key, several in grouped.items()
    }
    records = []
    for line in whole:
        case = _case_key(line.record)
        chosen = next(ordered[case]) if case else line
        records.append(_with_generation(chosen, generations))
    return Pool(records, _repeats(parts, whole))


def _numbered(files: Sequence[Sequence[Record]]) -> list[list[_Line]]:
    """The lines of each file. Equal records are equal lines, however their JSON is written.

    A record whose name no other record has is hashed by its name: its samples are many.
    """
    names = [[_name(record) for record in records] for records in files]
    counts = Counter(itertools.chain.from_iterable(names))
    return [
        [
            _Line(record, _digest(name if counts[name] == 1 else msgspec.json.encode(record)), file)
            for record, name in zip(records, own, strict=True)
        ]
        for file, (records, own) in enumerate(zip(files, names, strict=True))
    ]


def _name(record: Record) -> bytes:
    """What tells a record from all others of honest files; copies of a record share it."""
    own = (getattr(record, field, "") for field in ("case_id", "round", "generation"))
    return "|".join(map(str, (type(record).__name__, record.run_id, *own))).encode()


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _part(lines: list[_Line], began: Sequence[dict[str, str]]) -> _Part:
    known = began[lines[0].file] if lines else {}
    return _Part(age([line.record for line in lines], known), lines)


def _merged(parts: Iterable[_Part]) -> list[_Line]:
    """Each line once: in the latest part that has it, at its first place there."""
    ordered = sorted(parts, key=lambda part: part.key)
    holder = {line.digest: line.file for part in ordered for line in part.lines}
    found: dict[bytes, _Line] = {}
    for part in ordered:
        for line in part.lines:
            if holder[line.digest] == line.file:
                found.setdefault(line.digest, line)
    return list(found.values())


def _by_case(lines: Iterable[_Line]) -> dict[CaseKey, list[_Line]]:
    found: dict[CaseKey, list[_Line]] = {}
    for line in lines:
        if key := _case_key(line.record):
            found.setdefault(key, []).append(line)
    return found


def _case_key(record: Record) -> CaseKey | None:
    if not isinstance(record, CaseRecord):
        return None
    apart = {Profile: "profile", Evaluation: "evaluate"}.get(type(record), "")
    if isinstance(record, Failure) and record.stage in APART:
        apart = record.stage
    return (record.environment_id, record.case_id, apart)


def _generations(parts: Sequence[Sequence[_Line]]) -> dict[bytes, int]:
    """The generation of each line, where the newest generation of a case is equal in all files.

    A line that one file replaced with `--again` is replaced in all files.
    """
    by_file = [_by_case(lines) for lines in parts]
    newest = [
        {key: newest_generation(_own(lines)) for key, lines in cases.items()} for cases in by_file
    ]
    highest: dict[CaseKey, int] = {}
    for known in newest:
        for key, generation in known.items():
            highest[key] = max(generation, highest.get(key, generation))
    found: dict[bytes, int] = {}
    for cases, known in zip(by_file, newest, strict=True):
        for key, lines in cases.items():
            for line, record in zip(lines, _own(lines), strict=True):
                generation = record.generation + highest[key] - known[key]
                found[line.digest] = min(generation, found.get(line.digest, generation))
    return found


def _own(lines: Iterable[_Line]) -> list[CaseRecord]:
    return [line.record for line in lines if isinstance(line.record, CaseRecord)]


def _with_generation(line: _Line, generations: dict[bytes, int]) -> Record:
    record = line.record
    if not isinstance(record, CaseRecord):
        return record
    generation = generations[line.digest]
    if generation == record.generation:
        return record
    return msgspec.structs.replace(record, generation=generation)


def _repeats(parts: Sequence[Sequence[_Line]], whole: Sequence[_Line]) -> list[Repeats]:
    holder = {line.digest: line.file for line in whole}
    counts: Counter[tuple[int, int]] = Counter()
    for number, lines in enumerate(parts):
        for line in lines:
            counts[number, holder[line.digest]] += 1
    for line in whole:
        counts[line.file, line.file] -= 1
    return [Repeats(*pair, count) for pair, count in sorted(counts.items()) if count]

"""Marks at numbers that are in doubt, and footnotes that say why: a line for each mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.report.rows import Row
from bench.text import display

MARKS = {"SUSPECT": "†", "INVALID": "‡"}
UNFINISHED = "§"
NAMED = 6  # cases of one reason
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ROUNDS = re.compile(r" \(\d+ of \d+ rounds\)$")


def marks(row: Row) -> str:
    """The marks of a number, "" where there is no doubt."""
    level = row.verdict.level if row.verdict else ""
    return MARKS.get(level, "") + UNFINISHED * row.unfinished


def footnotes(device: str, rows: Iterable[Row]) -> Iterator[str]:
    """What the marks of a device's rows mean: reasons that differ in numbers alone are one."""
    timed = [row for row in rows if row.summary]
    for level, mark in MARKS.items():
        if doubted := [row for row in timed if row.verdict and row.verdict.level == level]:
            yield f"{mark} {level} on {device}: {'; '.join(_reasons(doubted))}."
    if unfinished := [_name(row) for row in timed if row.unfinished]:
        yield (
            f"{UNFINISHED} Unfinished on {device}, more rounds were to come: {_some(unfinished)}."
        )


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    alike: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for reason in row.verdict.reasons if row.verdict else []:
            if reason.level != "VALID":
                seen = ROUNDS.sub("", reason.seen)
                alike.setdefault(NUMBER.sub("#", seen), []).append((seen, _name(row)))
    for found in alike.values():
        texts, names = zip(*found, strict=True)
        yield f"{_spanning(texts)} ({_some(names)})"


def _spanning(texts: Sequence[str]) -> str:
    """Texts that differ in numbers alone as one: `others used 11 to 14 % of the CPUs`."""
    numbers = zip(*(NUMBER.findall(text) for text in texts), strict=True)
    ends = ((min(column, key=float), max(column, key=float)) for column in numbers)
    spans = iter([low if low == high else f"{low} to {high}" for low, high in ends])
    return NUMBER.sub(lambda _: next(spans), texts[0])


def _name(row: Row) -> str:
    batch = f" at batch {row.case.batch}" if row.case.batch > 1 else ""
    return display(row.case.model, row.case.form) + batch


def _some(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more

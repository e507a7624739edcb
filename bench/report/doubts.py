"""Marks at numbers that are in doubt, and footnotes that say why: a line for each mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.analysis.rows import Row
from bench.analysis.verdict import LEVELS, Level
from bench.text import display

MARKS = {"SUSPECT": "†", "INVALID": "‡"}
UNFINISHED = "§"
NAMED = 6  # cases of one reason
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ROUNDS = re.compile(r" \(\d+ of \d+ rounds\)$")


def level(*rows: Row) -> Level:
    """The worst verdict of the rows that a number comes from."""
    return max(
        (row.verdict.level for row in rows if row.verdict), key=LEVELS.index, default="VALID"
    )


def marks(*rows: Row) -> str:
    """The marks of a number that comes from these rows, "" where there is no doubt."""
    return MARKS.get(level(*rows), "") + UNFINISHED * any(row.unfinished for row in rows)


def legend(texts: Iterable[str], whose: str = "") -> list[str]:
    """A line below a picture that says what the marks at `texts` mean; none without a mark.

    `whose` says what is in doubt, where it is not the number alone.
    """
    seen = "".join(texts)
    pale = [f"{mark} {level}" for level, mark in MARKS.items() if mark in seen]
    found = [f"Pale: {', '.join(pale)}{whose}. "] * bool(pale)
    found += [f"{UNFINISHED} Unfinished, more rounds were to come. "] * (UNFINISHED in seen)
    return ["".join(found) + "The report says why."] if found else []


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

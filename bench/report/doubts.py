"""Marks at numbers that are in doubt, and footnotes that say why: a line for each mark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.analysis.reasons import LEVELS, Level, Reason, sentence
from bench.analysis.rows import Row
from bench.models import naming

MARKS = {"SUSPECT": "†", "INVALID": "‡"}
UNFINISHED = "§"
NAMED = 6  # cases of one reason


def level(*rows: Row) -> Level:
    """The worst verdict of the rows that a number comes from."""
    return max(
        (row.verdict.level for row in rows if row.verdict), key=LEVELS.index, default="VALID"
    )


def marks(*rows: Row) -> str:
    """The marks of a number that comes from these rows, "" where there is no doubt."""
    return MARKS.get(level(*rows), "") + UNFINISHED * any(row.unfinished for row in rows)


def legend(each: Iterable[str], whose: str = "") -> list[str]:
    """A line below a picture that says what the marks of `each` number mean; none without a mark.

    `whose` says what is in doubt, where it is not the number alone.
    """
    seen = "".join(each)
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
    alike: dict[tuple[object, ...], list[tuple[Reason, str]]] = {}
    for row in rows:
        for reason in row.verdict.reasons if row.verdict else []:
            if reason.level != "VALID":
                alike.setdefault(reason.kind, []).append((reason, _name(row)))
    for found in alike.values():
        yield f"{sentence([reason for reason, _ in found])} ({_some(name for _, name in found)})"


def _name(row: Row) -> str:
    batch = f" at batch {row.case.batch}" if row.case.batch > 1 else ""
    return naming.network_title(row.case.model, row.case.form) + batch


def _some(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more

"""Marks on doubtful numbers (†, ‡, §), and the footnotes that give the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.analysis.reasons import LEVELS, MARKS, Level, Observation, Reason, sentence
from bench.analysis.rows import Row, is_grouped
from bench.models import naming
from bench.text import some_of

UNFINISHED = "§"
APART = {Observation.DISTURBED_APART, Observation.SPOILT_APART}
GROUPED = "Calls below 50 µs, timed in groups and shown without ±"
NAMED = 6  # cases of one reason


def level(*rows: Row) -> Level:
    """The worst verdict of the rows behind a number; VALID if no row has a verdict."""
    return max(
        (row.verdict.level for row in rows if row.verdict), key=LEVELS.index, default="VALID"
    )


def marks(*rows: Row) -> str:
    """The marks of a number computed from these rows, "" if all are VALID and finished."""
    return MARKS.get(level(*rows), "") + UNFINISHED * any(row.unfinished for row in rows)


def legend(marked: Iterable[str], scope: str = "") -> list[str]:
    """The line below a figure that explains the marks in `marked`; empty if there are none.

    `scope` names which of several measurements is doubtful, for example " in either form".
    """
    seen = "".join(marked)
    pale = [f"{mark} {level}" for level, mark in MARKS.items() if mark in seen]
    found = [f"Pale: {', '.join(pale)}{scope}. "] * bool(pale)
    ended = "Unfinished: the run ended before the last round. "
    found += [f"{UNFINISHED} {ended}"] * (UNFINISHED in seen)
    return ["".join(found) + "results.md gives the reasons."] if found else []


def footnotes(device: str, rows: Iterable[Row]) -> Iterator[str]:
    """A line per mark on a device's rows, and lines on rounds that are left out and on groups.

    Reasons that differ only in their numbers are merged.
    """
    timed = [row for row in rows if row.summary]
    for level, mark in MARKS.items():
        if doubted := [row for row in timed if row.verdict and row.verdict.level == level]:
            yield f"{mark} {level} on {device}: {'; '.join(_reasons(_doubted(doubted)))}."
    if apart := list(_reasons(_apart(timed))):
        yield f"Left out on {device}: {'; '.join(apart)}."
    if unfinished := [_name(row) for row in timed if row.unfinished]:
        yield (
            f"{UNFINISHED} Unfinished on {device}, the run ended before the last round: "
            f"{_some(unfinished)}."
        )
    if grouped := [_name(row) for row in timed if is_grouped(row.rounds)]:
        yield f"{GROUPED} on {device}: {_some(grouped)}."


def _doubted(rows: Sequence[Row]) -> Iterator[tuple[Reason, Row]]:
    """The reasons to doubt these rows."""
    for row in rows:
        for reason in row.verdict.reasons if row.verdict else []:
            if reason.level != "VALID":
                yield reason, row


def _apart(rows: Sequence[Row]) -> Iterator[tuple[Reason, Row]]:
    """The disturbed and the spoilt rounds that are left out of these rows."""
    for row in rows:
        for reason in row.verdict.reasons if row.verdict else []:
            if reason.observation in APART:
                yield reason, row


def _reasons(found: Iterable[tuple[Reason, Row]]) -> Iterator[str]:
    alike: dict[tuple[object, ...], list[tuple[Reason, str]]] = {}
    for reason, row in found:
        alike.setdefault(reason.kind, []).append((reason, _name(row)))
    for same in alike.values():
        yield f"{sentence([reason for reason, _ in same])} ({_some(name for _, name in same)})"


def _name(row: Row) -> str:
    batch = f" at batch {row.case.batch}" if row.case.batch > 1 else ""
    return naming.network_title(row.case.model, row.case.form, row.case.label) + batch


def _some(names: Iterable[str]) -> str:
    return some_of(list(dict.fromkeys(names)), NAMED)

"""What became of each attack, and the counts of all."""

import collections
from collections.abc import Iterable

import hypothesis
import msgspec
from hypothesis import HealthCheck, Phase, given, settings

OUTCOMES = ("recovered", "refused", "traceback", "lost", "doubled", "wrong")
BAD = OUTCOMES[2:]
HEADINGS = ("attack", "tried", "recovered", "refused with a message", *BAD)


class Row(msgspec.Struct, frozen=True):
    """Attack number `number` of a part: its kind, its outcome, and what was seen."""

    part: str
    number: int
    kind: str
    outcome: str
    detail: str = ""


def examples_of(strategy, count: int, seed: int) -> list:
    """Return `count` examples of a Hypothesis strategy; the same seed gives the same examples."""
    found: list = []
    for more in range(100):  # one search ends early where it draws an example twice
        if len(found) >= count:
            break
        _collect(strategy, count - len(found), seed + 10**6 * more, found)
    return found[:count]


def _collect(strategy, count, seed, found):
    quiet = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(seed)
    @quiet
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()


def worst(findings: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return (outcome, detail) of the findings on one attack: its worst outcome, all details."""
    every = list(findings)
    if not every:
        return "recovered", ""
    order = ["wrong", "doubled", "lost", "traceback", "refused", "recovered"]
    first = min(every, key=lambda finding: order.index(finding[0]))[0]
    return first, "; ".join(dict.fromkeys(detail for _, detail in every if detail))


def table(rows: Iterable[Row]) -> list[str]:
    """Return the lines of the table of counts, one line for each part."""
    counts: dict[str, collections.Counter] = {}
    for row in rows:
        counts.setdefault(row.part, collections.Counter())[row.outcome] += 1
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for part, found in counts.items():
        numbers = (found.total(), *(found[outcome] for outcome in OUTCOMES))
        lines.append(f"| {part} | {' | '.join(map(str, numbers))} |")
    return lines

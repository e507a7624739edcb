"""Cases as a user meets them: against their tight loop, and pairs whose order differs there."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from bench.analysis import stats
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.records import Case, Level, Measurement
from bench.records.scenario import TIGHT

TENTHS = 10


class InUse(NamedTuple):
    """A row of a scenario, with the row of the tight loop of the same case, if there is one."""

    row: Row
    tight: Row | None

    @property
    def ratio(self) -> Estimate | None:
        """The latency of the scenario / that of the tight loop; None where they took no turns."""
        if self.tight is None or not self.row.rounds or not self.tight.rounds:
            return None
        if self.row.is_invalid or self.tight.is_invalid or self.row.case.when.is_alone:
            return None
        return compare(self.tight.rounds, self.row.rounds).ratio


class Orders(NamedTuple):
    """Pairs of cases in one scenario: how many there are, and how many both loops decide.

    `flips` are those where the faster case of the tight loop is found SLOWER in the scenario.
    """

    scenario: str
    pairs: int
    decided: int
    flips: list[tuple[Row, Row]]


class Course(NamedTuple):
    """The first and the last tenth of the time of sustained rounds: seconds of a call, their ratio.

    `ratio` is last / first, with the interval of at least three rounds. `first` and `last` are what
    the chip read at the end of either tenth of the first round, None where it read nothing.
    """

    first_s: float
    last_s: float
    ratio: Estimate | None
    first: Level | None
    last: Level | None
    energy_j: float | None

    @property
    def point(self) -> float:
        """The ratio without its interval."""
        return self.last_s / self.first_s


def tight(case: Case) -> Case:
    """Return the case of the tight loop."""
    return structs.replace(case, scenario=TIGHT)


def with_tight(in_use: Sequence[Row], rows: Sequence[Row]) -> list[InUse]:
    """Return each row of a scenario with that of its tight loop."""
    known = {row.case: row for row in rows}
    return [InUse(row, known.get(tight(row.case))) for row in in_use]


def orders(lines: Sequence[InUse]) -> list[Orders]:
    """Return for each scenario the pairs of cases that are ranked together and differ no further.

    Networks may differ in their backend and precision, too: one chooses between those as well.
    """
    found = []
    judged = [line for line in lines if _is_judged(line.row) and _is_judged(line.tight)]
    for scenario in dict.fromkeys(line.row.case.scenario for line in lines):
        own = [line for line in judged if line.row.case.scenario == scenario]
        pairs = [
            pair
            for pair in itertools.combinations(own, 2)
            if _place(pair[0].row.case) == _place(pair[1].row.case)
        ]
        both = [(_finding(*pair, in_use=False), _finding(*pair, in_use=True)) for pair in pairs]
        told = [all(each in ("FASTER", "SLOWER") for each in two) for two in both]
        flips = [
            (first.row, second.row)
            for (first, second), two, is_told in zip(pairs, both, told, strict=True)
            if is_told and two[0] != two[1]
        ]
        found.append(Orders(scenario, len(pairs), sum(told), flips))
    return found


def _place(case: Case) -> tuple[object, ...]:
    return (*case.ranked_with, case.threads)


def _is_judged(row: Row | None) -> bool:
    return row is not None and row.is_ranked


def _finding(base: InUse, candidate: InUse, *, in_use: bool) -> str:
    rows = [each.row if in_use else each.tight for each in (base, candidate)]
    one, other = (row.rounds for row in rows if row is not None)
    return compare(one, other).finding


def course(row: Row) -> Course | None:
    """Return the course of a sustained row; None if it has no round of several blocks."""
    rounds = [each for each in row.rounds if len(each.block_sizes) > 1]
    if not rounds:
        return None
    firsts = [_first_tenth(each.samples_s) for each in rounds]
    lasts = [_first_tenth(each.samples_s[::-1]) for each in rounds]
    logs = [math.log(last / first) for first, last in zip(firsts, lasts, strict=True)]
    levels = rounds[0].block_levels
    return Course(
        statistics.geometric_mean(firsts),
        statistics.geometric_mean(lasts),
        stats.exponential(stats.mean_interval(logs)),
        levels[0] if levels else None,
        levels[-1] if levels else None,
        _energy_j(row),
    )


def _first_tenth(samples_s: Sequence[float]) -> float:
    """The median of the calls that began in the first tenth of the time; they had no pauses."""
    ends = itertools.accumulate(samples_s)
    limit = sum(samples_s) / TENTHS
    return statistics.median(
        taken for taken, end in zip(samples_s, ends, strict=True) if end - taken < limit
    )


def _energy_j(row: Row) -> float | None:
    """Joules of an image: what the counter rose by after the first block / images since."""
    spent, images = 0.0, 0
    for each in row.rounds:
        counters = [level.energy_j for level in each.block_levels]
        if not counters or counters[0] is None or counters[-1] is None:
            return None
        spent += counters[-1] - counters[0]
        images += sum(each.block_sizes[1:]) * each.calls_per_sample * row.case.batch
    return spent / images if images else None


def parts(rounds: Sequence[Measurement]) -> Mapping[str, float]:
    """Return the seconds of each part of a sample: the means of the processes' medians."""
    names = rounds[0].parts_s if rounds else {}
    return {
        name: statistics.fmean(
            statistics.median(each.parts_s[name]) for each in rounds if name in each.parts_s
        )
        for name in names
    }


class Arrivals(NamedTuple):
    """Images that came at a fixed rate: those answered, answered late, and dropped."""

    answered: int
    late: int
    dropped: int


def arrivals(rounds: Sequence[Measurement]) -> Arrivals:
    """Return the images of all rounds of a case at a fixed rate."""
    return Arrivals(
        sum(len(each.samples_s) for each in rounds),
        sum(each.late or 0 for each in rounds),
        sum(each.dropped or 0 for each in rounds),
    )


def of_order(found: Orders, title: Mapping[Case, str]) -> str:
    """A sentence on the pairs of a scenario; `title` names a case of the tight loop."""
    pairs = f"{found.pairs} pair{'s' * (found.pairs != 1)}"
    if not found.flips:
        return (
            f"no pair has another order than in the tight loop ({pairs}, {found.decided} decided "
            "in both)."
        )
    flips = []
    for two in found.flips:
        faster, slower = sorted(two, key=lambda row: row.typical_s or 0.0)
        flips.append(f"{title[tight(faster.case)]}, not {title[tight(slower.case)]}")
    return (
        f"in {len(flips)} of {pairs} ({found.decided} decided in both), another one is faster than "
        f"in the tight loop: {'; '.join(flips)}."
    )

"""Throughput over the batch size: the knee, what bounds a call, and where one overtakes another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import naming
from bench.records import Case
from bench.text import significant

FEWEST = 3  # batch sizes that make a curve
HIGH = 0.9  # the share of the highest throughput that is reached at the knee
RISES = 1.05  # a curve is flat if the throughput rose by no more than this factor
FLAT_FOR = 4  # over so many times the batch size: two doublings
DOUBLED = 1.9  # an elasticity is of two sizes that are at least so far apart
LAUNCH_BOUND, COMPUTE_BOUND = 0.5, 0.9  # limits of the elasticity
CLOSE = 1.5  # ratio of two batch sizes between which none is sought
MOST_SIZES = 20


class Spot(NamedTuple):
    """The throughput of a network at one batch size, in images per second; rows have it."""

    batch: int
    row: Row

    @property
    def throughput(self) -> float:
        """The batch size / the latency."""
        return self.row.throughput or 0.0

    @property
    def interval(self) -> Estimate | None:
        """The throughput with the interval of the latency; None without one."""
        found = self.row.interval
        if found is None:
            return None
        return Estimate(self.throughput, self.batch / found.high, self.batch / found.low)


class Curve(msgspec.Struct, frozen=True):
    """The spots of one network in one setting, the smallest batch first.

    `case` is that of the smallest batch. `failed_at` is the smallest batch size that failed, as for
    lack of memory; None if none did. `invalid` are the sizes whose verdict is INVALID; they have no
    spot.
    """

    case: Case
    spots: list[Spot]
    failed_at: int | None = None
    invalid: list[int] = []

    @property
    def highest(self) -> Spot:
        """The spot with the highest throughput."""
        return max(self.spots, key=lambda spot: spot.throughput)

    @property
    def knee(self) -> Estimate | None:
        """The smallest batch size that reaches HIGH of the highest throughput.

        Its interval reaches from the smallest size that may reach it, by the interval of its
        throughput, to the smallest that certainly does. None while the throughput still rises at
        the largest size.
        """
        if not self.is_flat:
            return None
        least = HIGH * self.highest.throughput
        ends = [spot.interval or Estimate(*[spot.throughput] * 3) for spot in self.spots]
        point, may, does = (
            next(
                (s.batch for s, e in zip(self.spots, ends, strict=True) if e[which] >= least),
                self.highest.batch,
            )
            for which in (0, 2, 1)
        )
        return Estimate(point, min(may, point), max(does, point))

    @property
    def elasticities(self) -> list[tuple[int, float]]:
        """For each batch size but the first, log(latency ratio) / log(batch ratio) to the last.

        0 means that more images cost nothing, 1 that a call takes as much longer as it has more.
        Of sizes that are nearer than a doubling, noise would be most of it.
        """
        apart = self.spots[:1]
        for spot in self.spots:
            if apart and spot.batch >= DOUBLED * apart[-1].batch:
                apart.append(spot)
        return [
            (two.batch, math.log(_seconds(two) / _seconds(one)) / math.log(two.batch / one.batch))
            for one, two in itertools.pairwise(apart)
        ]

    @property
    def launch_bound_to(self) -> int | None:
        """The largest batch up to which the elasticity stays below LAUNCH_BOUND; None if none is.

        Up to there, what a call costs apart from its images takes most of the time.
        """
        low = list(itertools.takewhile(lambda each: each[1] < LAUNCH_BOUND, self.elasticities))
        return low[-1][0] if low else None

    @property
    def compute_bound_from(self) -> int | None:
        """The smallest batch from which the elasticity stays above COMPUTE_BOUND; None if none."""
        last = reversed(self.elasticities)
        high = list(itertools.takewhile(lambda each: each[1] >= COMPUTE_BOUND, last))
        return high[-1][0] if high else None

    @property
    def is_flat(self) -> bool:
        """Whether the throughput rose by at most RISES over FLAT_FOR times the batch."""
        if not self.spots:
            return False
        last = self.spots[-1]
        before = [spot for spot in self.spots if FLAT_FOR * spot.batch <= last.batch]
        return bool(before) and last.throughput <= RISES * before[-1].throughput


class Crossover(msgspec.Struct, frozen=True):
    """`first` is found faster up to batch `before`, and `second` from batch `after` on.

    Between them, the measurements do not tell the two apart, or nothing was measured. `point` is
    the batch size at which the ratio of the latencies would be 1, by interpolation of its logarithm
    over that of the batch size.
    """

    first: Case
    second: Case
    before: int
    after: int
    point: float


def of_curve(curve: Curve) -> str:
    """`ResNet50: knee at batch 8 (4 to 16), 57.2 img/s at batch 32; launch-bound to batch 2`."""
    if not curve.spots:
        return f"{naming.title(curve.case)}: no result counts"
    top = curve.highest
    least = "or below " if curve.knee and curve.knee.point == curve.spots[0].batch else ""
    words = [f"knee at {least}batch {knee_text(curve.knee)}"] if curve.knee else []
    rises = "" if curve.knee else ", and it still rises there"
    words += [f"highest throughput {significant(top.throughput)} img/s at batch {top.batch}{rises}"]
    if curve.launch_bound_to:
        words.append(f"launch-bound to batch {curve.launch_bound_to}")
    if curve.compute_bound_from:
        words.append(f"compute-bound from batch {curve.compute_bound_from}")
    if curve.failed_at:
        words.append(f"failed at batch {curve.failed_at}")
    if curve.invalid:
        words.append(f"INVALID at batch {', '.join(map(str, curve.invalid))}")
    return f"{naming.title(curve.case)}: {', '.join(words)}"


def knee_text(knee: Estimate) -> str:
    """`8 (4 to 16)`."""
    between = f" ({knee.low:.0f} to {knee.high:.0f})" if knee.low < knee.high else ""
    return f"{knee.point:.0f}{between}"


def of_crossover(found: Crossover) -> str:
    """`Swin-T overtakes ResNet50 at batch 11 (8 to 16)`."""
    names = f"{naming.title(found.second)} overtakes {naming.title(found.first)}"
    return f"{names} at batch {crossover_text(found)}"


def crossover_text(found: Crossover) -> str:
    """`11 (8 to 16)`."""
    return f"{significant(found.point, 2)} ({found.before} to {found.after})"


def curves(rows: Iterable[Row]) -> list[Curve]:
    """The curves of networks that were measured or failed at several batch sizes.

    A network with fewer than FEWEST spots has a curve, too, while a run is still finding it, and
    one that always failed has a curve without spots.
    """
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        plain = msgspec.structs.replace(row.case, batch=1)
        found.setdefault((row.environment.environment_id, plain), []).append(row)
    return [_curve(several) for several in found.values()]


def _curve(rows: Sequence[Row]) -> Curve:
    ordered = sorted(rows, key=lambda row: row.case.batch)
    failed = [row.case.batch for row in ordered if row.failure]
    measured = [row for row in ordered if row.summary and not row.failure]
    spots = [Spot(row.case.batch, row) for row in measured if not row.is_invalid]
    invalid = [row.case.batch for row in measured if row.is_invalid]
    return Curve(ordered[0].case, spots, min(failed, default=None), invalid)


def crossovers(found: Sequence[Curve]) -> list[Crossover]:
    """All crossovers of two curves in one setting, by comparison at each batch size of both."""
    pairs = itertools.combinations(found, 2)
    return [
        crossover
        for one, other in pairs
        if _are_comparable(one.case, other.case)
        for crossover in _crossovers(one, other)
    ]


def _are_comparable(one: Case, other: Case) -> bool:
    """Whether they take turns at equal batch sizes, and have equal threads and allocation."""
    plain = (msgspec.structs.replace(case, batch=1) for case in (one, other))
    first, second = ((*case.ranked_with, case.threads) for case in plain)
    return first == second


def _crossovers(one: Curve, other: Curve) -> list[Crossover]:
    mine, theirs = ({spot.batch: spot.row for spot in each.spots} for each in (one, other))
    both = [(batch, row, theirs[batch]) for batch, row in mine.items() if batch in theirs]
    found = []
    last: tuple[int, str] | None = None
    logs: list[tuple[int, float]] = []
    for batch, row, its in both:
        compared = compare(row.rounds, its.rounds)
        logs.append((batch, math.log(compared.candidate_s / compared.base_s)))
        if not compared.told_apart:
            continue
        if last and last[1] != compared.finding:
            pair = (one.case, other.case) if last[1] == "SLOWER" else (other.case, one.case)
            between = [each for each in logs if last[0] <= each[0] <= batch]
            found.append(Crossover(*pair, last[0], batch, _zero(between)))
        last = (batch, compared.finding)
    return found


def _zero(logs: Sequence[tuple[int, float]]) -> float:
    """The batch size at which the log-ratio is 0, linear in the log of the batch size."""
    for (one, before), (two, after) in itertools.pairwise(logs):
        if before * after <= 0 and before != after:
            share = before / (before - after)
            return one * (two / one) ** share
    return math.sqrt(logs[0][0] * logs[-1][0])


def next_batch(
    found: Sequence[Curve], visited: Iterable[int], lowest: int, highest: int
) -> int | None:
    """The batch size to measure next; None where the curves are known.

    `visited` are the sizes of the curves in `found`. First sizes double, from `lowest`, until all
    curves are flat or failed, or `highest` is reached. Then the widest gap is halved, in the log of
    the size, within a crossover and below a knee, while its ends differ by more than a factor of
    CLOSE.
    """
    sizes = sorted(visited)
    if not sizes:
        return lowest
    growing = [curve for curve in found if curve.failed_at is None and not curve.is_flat]
    if growing and sizes[-1] < highest:
        return min(2 * sizes[-1], highest)
    if len(sizes) >= MOST_SIZES:
        return None
    gaps = [gap for gap in itertools.pairwise(sizes) if _is_wide(*gap) and _matters(gap, found)]
    if not gaps:
        return None
    low, high = max(gaps, key=lambda gap: gap[1] / gap[0])
    return round(math.sqrt(low * high))


def _is_wide(low: int, high: int) -> bool:
    return high / low > CLOSE and round(math.sqrt(low * high)) not in (low, high)


def _matters(gap: tuple[int, int], found: Sequence[Curve]) -> bool:
    """Whether a crossover lies in the gap, or the knee of a curve is its upper end."""
    low, high = gap
    known = [curve for curve in found if len(curve.spots) >= FEWEST]
    if any(curve.knee and curve.knee.point == high for curve in known):
        return True
    return any(low < each.point <= high for each in crossovers(known))


def _seconds(spot: Spot) -> float:
    assert spot.row.typical_s is not None
    return spot.row.typical_s

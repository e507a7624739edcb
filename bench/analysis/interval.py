"""The latency of a case with a 95 % interval that holds for its kinds of processes and for drift.

Its percentiles have such an interval too, of one kind; and one can ask how many rounds would tell
on which side of a bound either lies.

A process on a CPU causes few page faults in each call, or thousands, and stays so: memory that a
call gives back must be mapped anew by the next. The kinds differ in speed, so the plain t interval
is too narrow where few processes were measured, and where a rare kind is among them. The machine's
own speed changes from one process to the next, too; the calibration kernels show by how much.
`docs/method.md` has the coverage of both intervals in simulations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.analysis import stats
from bench.analysis.kinds import (
    FREEDOM_OF_SEVERAL,
    Kind,
    Range,
    kinds,
    of_mixture,
    variance_within,
)
from bench.analysis.ratio import kernel_logs
from bench.analysis.stats import Estimate
from bench.records import Measurement

MEDIAN = 0.5
MOST_DRIFT = 1.25  # times the spread of the processes, which is too small while a drift lasts


def drift(rounds: Sequence[Measurement]) -> float:
    """The drift of the machine from round to round, as a standard deviation of logarithms.

    It is that of the logs of the median seconds of a calibration kernel in each round, for the
    kernel that drifts more. 0.0 where a round has no kernel times, and for a single round.
    """
    if len(rounds) < 2 or not all(record.block_compute_s for record in rounds):
        return 0.0
    return max(stats.stdev(logs) for logs in kernel_logs(rounds))


def seen_drift(rounds: Sequence[Measurement]) -> float:
    """The drift, but at most MOST_DRIFT times the spread of the logs of the processes' medians.

    What the kernels show beyond that is their own noise: a drift of the machine shows in the case.
    """
    if len(rounds) < 2:
        return 0.0
    logs = [math.log(statistics.median(record.samples_s)) for record in rounds]
    return min(drift(rounds), MOST_DRIFT * stats.stdev(logs))


def interval(rounds: Sequence[Measurement]) -> Estimate | None:
    """The latency in seconds, with an interval for the mixture of the kinds that were met.

    With g kinds among k processes, s the standard deviation of the logs of the medians within a
    kind, and d the drift, but at most MOST_DRIFT * s, a kind of n processes with mean m has the
    interval m * exp(±t(0.975, k - g) * sqrt(s² / n + d²)). So where the drift may explain all of
    the spread, n processes count for no more than one. The interval holds each mixture of the kinds
    that their numbers allow (`kinds.of_mixture`); the point is the mean of all medians. Where k - g
    is below FREEDOM_OF_SEVERAL, all processes are taken for one kind: its s holds the differences
    of the kinds. None for fewer than `stats.FEWEST_PROCESSES`, and where an end leaves the range of
    floating-point numbers.
    """
    if len(rounds) < stats.FEWEST_PROCESSES:
        return None
    found = kinds(rounds)
    ends = _ends(found, drift(rounds), 1.0)
    point = statistics.fmean(median for kind in found for median in kind.medians_s)
    return Estimate(point, *ends) if ends else None


def _ends(found: Sequence[Kind], drift_: float, times: float) -> tuple[float, float] | None:
    """The ends of the interval, if there were so many times as many processes of each kind."""
    total = times * sum(len(kind.medians_s) for kind in found)
    if len(found) > 1 and total - len(found) < FREEDOM_OF_SEVERAL:
        found = [Kind(None, None, [median for kind in found for median in kind.medians_s])]
    within = variance_within([[math.log(median) for median in kind.medians_s] for kind in found])
    common = min(drift_**2, MOST_DRIFT**2 * within)
    t = stats.t_quantile(total - len(found))
    counts = [times * len(kind.medians_s) for kind in found]
    ends = [
        stats.around(kind.latency_s, t * math.sqrt(within / count + common))
        for kind, count in zip(found, counts, strict=True)
    ]
    if not all(ends):
        return None
    return of_mixture([Range(n, e.low, e.high) for n, e in zip(counts, ends, strict=True) if e])


def of_percentile(rounds: Sequence[Measurement], share: float) -> Estimate | None:
    """The percentile of all iterations in seconds, with an interval from one of each process.

    With s the standard deviation of the logs of the k processes' own percentiles and d the drift
    as in `interval`, the interval is p * exp(±t(0.975, k - 1) * sqrt(s² / k + d²)). None where all
    samples are too few for the percentile (`stats.percentile`), for fewer than
    `stats.FEWEST_PROCESSES`, and where an end leaves the range of floating-point numbers.
    """
    point = stats.percentile([s for record in rounds for s in record.samples_s], share)
    if point is None or len(rounds) < stats.FEWEST_PROCESSES:
        return None
    own = _percentiles(rounds, share)
    ends = _ends([own], drift(rounds), 1.0)
    scale = point / own.latency_s
    return Estimate(point, scale * ends[0], scale * ends[1]) if ends else None


def more_rounds(rounds: Sequence[Measurement], bound_s: float, share: float = MEDIAN) -> int | None:
    """How many more rounds would tell on which side of `bound_s` the latency or a percentile lies.

    It is the number after which the interval would no longer hold the bound, if the new rounds were
    as those on record, of which there are at least FEWEST_PROCESSES. None where stats.MOST_ROUNDS
    rounds would not tell: the bound is too near for the drift of the machine, which more rounds do
    not narrow, or for the shares of the kinds of processes.
    """
    found, drift_ = kinds(rounds), drift(rounds)
    if share != MEDIAN:
        found = [_percentiles(rounds, share)]
        pooled = stats.quantile([s for record in rounds for s in record.samples_s], share)
        bound_s *= found[0].latency_s / pooled
    for count in range(len(rounds) + 1, stats.MOST_ROUNDS + 1):
        ends = _ends(found, drift_, count / len(rounds))
        if ends and not ends[0] <= bound_s <= ends[1]:
            return count - len(rounds)
    return None


def _percentiles(rounds: Sequence[Measurement], share: float) -> Kind:
    """The percentile of each process, as of one kind."""
    return Kind(None, None, [stats.quantile(record.samples_s, share) for record in rounds])

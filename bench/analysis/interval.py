"""The latency of a case with a 95 % interval that holds for its kinds of processes and for drift.

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
from typing import NamedTuple

from bench.analysis import stats
from bench.analysis.ratio import kernel_logs
from bench.analysis.stats import Estimate
from bench.records import Measurement

FAULT_S = 1e-6  # least time of a page fault
SHARE = 0.01  # page faults that take less of a call do not make a kind
FREEDOM_OF_SEVERAL = 3  # fewest degrees of freedom with which each kind has its own interval
MOST_DRIFT = 1.25  # times the spread of the processes, which is too small while a drift lasts
FACTOR = 2.0  # a kind begins where the page faults are more than this many times the next lower


class Kind(NamedTuple):
    """Processes with similar page faults a call: fewest, most, and each one's median in seconds.

    `fewest` and `most` are None where a process has no page faults on record.
    """

    fewest: float | None
    most: float | None
    medians_s: list[float]

    @property
    def latency_s(self) -> float:
        """The mean of the medians."""
        return statistics.fmean(self.medians_s)


def faults_per_call(record: Measurement) -> float | None:
    """Page faults of the process per timed call; None where they are not on record."""
    if record.conditions is None or record.conditions.page_faults is None:
        return None
    return record.conditions.page_faults / (len(record.samples_s) * record.calls_per_sample)


def kinds(rounds: Sequence[Measurement]) -> list[Kind]:
    """The kinds of processes of one case, from few page faults to many; [] without rounds.

    Sorted by page faults a call, a kind begins at a process that has more than FACTOR times those
    of the one before, plus as many as take SHARE of the latency.
    """
    medians = [statistics.median(record.samples_s) for record in rounds]
    faults = [known for record in rounds if (known := faults_per_call(record)) is not None]
    if len(faults) < len(rounds):
        return [Kind(None, None, medians)]
    found: list[Kind] = []
    few = SHARE * statistics.median(medians) / FAULT_S if medians else 0.0
    for count, median in sorted(zip(faults, medians, strict=True)):
        last = found[-1] if found else None
        if last is None or last.most is None or count > FACTOR * last.most + few:
            found.append(Kind(count, count, [median]))
        else:
            found[-1] = last._replace(most=count, medians_s=[*last.medians_s, median])
    return found


def drift(rounds: Sequence[Measurement]) -> float:
    """The drift of the machine from round to round, as a standard deviation of logarithms.

    It is that of the logs of the median seconds of a calibration kernel in each round, for the
    kernel that drifts more. 0.0 where a round has no kernel times, and for a single round.
    """
    if len(rounds) < 2 or not all(record.block_compute_s for record in rounds):
        return 0.0
    return max(statistics.stdev(logs) for logs in kernel_logs(rounds))


def interval(rounds: Sequence[Measurement]) -> Estimate | None:
    """The latency in seconds, with an interval for any mixture of the kinds that were met.

    With g kinds among k processes, s the standard deviation of the logs of the medians within a
    kind, and d the drift, but at most MOST_DRIFT * s, a kind of n processes with mean m has the
    interval m * exp(±t(0.975, k - g) * sqrt(s² / n + d²)). So where the drift may explain all of
    the spread, n processes count for no more than one. The interval goes from the lowest to the
    highest end; the point is the mean of all medians. Where k - g is below FREEDOM_OF_SEVERAL, all
    processes are taken for one kind: its s holds the differences of the kinds. None for fewer than
    `stats.FEWEST_PROCESSES`, and where an end leaves the range of floating-point numbers.
    """
    if len(rounds) < stats.FEWEST_PROCESSES:
        return None
    found = kinds(rounds)
    freedom = len(rounds) - len(found)
    if len(found) > 1 and freedom < FREEDOM_OF_SEVERAL:
        found = [Kind(None, None, [median for kind in found for median in kind.medians_s])]
        freedom = len(rounds) - 1
    logs = [[math.log(median) for median in kind.medians_s] for kind in found]
    within = sum(statistics.pvariance(each) * len(each) for each in logs) / freedom
    common, t = min(drift(rounds) ** 2, MOST_DRIFT**2 * within), stats.t_quantile(freedom)
    ends = [
        stats.around(kind.latency_s, t * math.sqrt(within / len(kind.medians_s) + common))
        for kind in found
    ]
    if not all(ends):
        return None
    low, high = (min(end.low for end in ends if end), max(end.high for end in ends if end))
    return Estimate(statistics.fmean(m for kind in found for m in kind.medians_s), low, high)


def kinds_text(found: Sequence[Kind]) -> str:
    """Number of processes, their page faults a call, and latency: `3 with 0 to 2 (67.2 ms), …`."""
    return ", ".join(
        f"{len(kind.medians_s)} with {_range(kind)} ({1e3 * kind.latency_s:.3g} ms)"
        for kind in found
    )


def faults_text(found: Sequence[Kind]) -> str:
    """Page faults a call of each kind, and its processes: `0 (2), 4,672 (1)`; "" if not known."""
    known = [kind for kind in found if kind.fewest is not None]
    return ", ".join(f"{_range(kind)} ({len(kind.medians_s)})" for kind in known)


def _range(kind: Kind) -> str:
    ends = [f"{faults or 0:,.0f}" for faults in (kind.fewest, kind.most)]
    return " to ".join(dict.fromkeys(ends))

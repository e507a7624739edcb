"""What samples amount to. Statistics are derived from records each time, never stored.

What varies most is the process, so an interval comes from one estimate a process (Student's t
with k - 1 degrees of freedom), and a ratio from blocks that were timed next to each other. A
thousand more samples of one process narrow neither. SciPy is imported where it is needed, since
it takes longer to import than a command line may.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

CONFIDENCE = 0.95
MARGIN = 0.02  # a ratio this near to 1 is of no consequence
FEWEST_FOR_MEDIAN = 11  # samples of one process, for an interval of their median
TOO_FEW_BEYOND = 0.01  # highest probability that at most one sample lies beyond a percentile
USUAL_SLOPE = 0.5  # how a log-ratio of two networks may depend on the logarithm of a kernel's time
FENCE = 1.5  # interquartile ranges from the quartiles to an outlier (Tukey)
MOST_ROUNDS = 200  # nobody will wait for more

Finding = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED"]


class Summary(NamedTuple):
    """Of all timed iterations pooled over processes: seconds, and how many there were.

    `std` is the sample standard deviation (n - 1), nan of a single sample: the paper's "±".
    """

    mean: float
    std: float
    median: float
    samples: int
    processes: int


class Estimate(NamedTuple):
    """A value and its 95 % interval, in the unit of what was estimated."""

    point: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval as a share of the point."""
        return (self.high - self.low) / (2 * self.point)


def summarise(processes: Sequence[Sequence[float]]) -> Summary:
    """Pool the samples of each process. Raises ValueError where there is none at all."""
    pooled = [sample for samples in processes for sample in samples]
    if not pooled:
        raise ValueError("no samples to summarise")
    return Summary(
        mean=statistics.fmean(pooled),
        std=statistics.stdev(pooled) if len(pooled) > 1 else math.nan,
        median=statistics.median(pooled),
        samples=len(pooled),
        processes=len(processes),
    )


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def mean_interval(values: Sequence[float]) -> Estimate | None:
    """Mean of independent values with its t interval; None of fewer than two."""
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Estimate(mean, mean - half, mean + half)


def latency(processes: Sequence[Sequence[float]]) -> Estimate | None:
    """Seconds of an iteration: the mean of the processes' medians; None of a single process."""
    return mean_interval([statistics.median(samples) for samples in processes])


def median_interval(samples: Sequence[float]) -> Estimate | None:
    """The median of one process's samples, between order statistics that hold it.

    The narrowest pair whose binomial coverage is at least 95 %; None of fewer than 11 samples. It
    says nothing of other processes.
    """
    n = len(samples)
    if n < FEWEST_FOR_MEDIAN:
        return None
    outside = 0
    while _binomial_cdf(outside, n, 0.5) <= (1 - CONFIDENCE) / 2:
        outside += 1
    ordered = sorted(samples)
    return Estimate(statistics.median(ordered), ordered[outside - 1], ordered[n - outside])


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The value that `share` of the samples do not exceed; None where too few lie beyond it.

    Too few: one or none with a probability above 1 %. So p90 takes 64 samples, p95 130, p99 662.
    """
    if not samples or _binomial_cdf(1, len(samples), 1 - share) > TOO_FEW_BEYOND:
        return None
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    below = int(position)
    return ordered[below] + (position - below) * (ordered[below + 1] - ordered[below])


def count_outliers(samples: Sequence[float]) -> int:
    """How many samples lie beyond Tukey's fences. They are counted, and stay."""
    if len(samples) < 4:
        return 0
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    reach = FENCE * (third - first)
    return sum(not first - reach <= sample <= third + reach for sample in samples)


def paired_ratio(rounds: Sequence[Sequence[float]]) -> Estimate | None:
    """A ratio from log-ratios of neighbouring blocks, those of one round (two processes) each.

    The mean of the rounds' means, with a t interval; None of fewer than two rounds.
    """
    return _exponential(mean_interval([statistics.fmean(round_) for round_ in rounds]))


def adjusted_ratio(
    rounds: Sequence[Sequence[float]],
    states: Sequence[Sequence[Sequence[float]]],
    reference: Sequence[float],
) -> Estimate | None:
    """The paired ratio as it would be in the `reference` state of the machine.

    `states` are those in which the log-ratios of `rounds` were timed: a few numbers each, the
    logarithms of what calibration kernels took. A linear dependence on them is fitted, its slopes
    shrunk as if they were 0 ± 0.5 before anything was seen, so that on a steady machine nothing
    is adjusted. The interval is the jackknife's over rounds, with one degree of freedom less for
    each slope; None of fewer rounds than leave two.
    """
    import numpy as np

    freedom = len(rounds) - 1 - len(reference)
    if freedom < 2:
        return None
    ratios = [np.asarray(each, float) for each in rounds]
    offsets = [np.asarray(each, float) - reference for each in states]
    noise = np.var([each.mean() for each in ratios], ddof=1)
    shrinkage = noise * np.mean([len(each) for each in ratios]) / USUAL_SLOPE**2

    def at_reference(kept: Sequence[int]) -> float:
        centre = np.mean([ratios[i].mean() for i in kept])
        centre_state = np.mean([offsets[i].mean(axis=0) for i in kept], axis=0)
        y = np.concatenate([ratios[i] for i in kept]) - centre
        x = np.concatenate([offsets[i] for i in kept]) - centre_state
        shrunk = x.T @ x + shrinkage * np.eye(x.shape[1])
        slopes = np.linalg.lstsq(shrunk, x.T @ y, rcond=None)[0]
        return float(centre - centre_state @ slopes)

    count = len(rounds)
    everything = at_reference(range(count))
    without = [at_reference([j for j in range(count) if j != i]) for i in range(count)]
    error = math.sqrt(
        (count - 1) / count * sum((w - statistics.fmean(without)) ** 2 for w in without)
    )
    half = _t(freedom) * error
    return _exponential(Estimate(everything, everything - half, everything + half))


def separate_ratio(
    base: Sequence[float], candidate: Sequence[float], drift: float
) -> Estimate | None:
    """The ratio candidate / base of processes that did not run side by side.

    Takes one estimate a process, in seconds. Welch's interval of the difference of logarithms,
    widened by what the machine itself moves between one time and another: `drift` is the
    standard deviation of the logarithm of that. None of fewer than two processes a side.
    """
    if min(len(base), len(candidate)) < 2:
        return None
    sides = [[math.log(value) for value in side] for side in (base, candidate)]
    parts = [statistics.variance(side) / len(side) for side in sides]
    difference = statistics.fmean(sides[1]) - statistics.fmean(sides[0])
    weighed = sum(part**2 / (len(s) - 1) for part, s in zip(parts, sides, strict=True))
    freedom = sum(parts) ** 2 / weighed if weighed else min(map(len, sides)) - 1
    half = _t(freedom) * math.sqrt(sum(parts) + 2 * drift**2)
    return _exponential(Estimate(difference, difference - half, difference + half))


def find(ratio: Estimate | None, margin: float = MARGIN) -> Finding:
    """What a ratio of latencies, candidate / base, amounts to.

    FASTER or SLOWER where the interval is wholly beyond 1 / (1 + margin) or 1 + margin, SAME
    where it is wholly between them.
    """
    if ratio is None:
        return "UNDECIDED"
    if ratio.high < 1 / (1 + margin):
        return "FASTER"
    if ratio.low > 1 + margin:
        return "SLOWER"
    return "SAME" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "UNDECIDED"


def more_rounds(ratio: Estimate, rounds: int, margin: float = MARGIN) -> int | None:
    """How many more rounds would decide, if point and spread stay; None where 200 would not."""
    centre, half = math.log(ratio.point), math.log(ratio.high / ratio.low) / 2
    spread = half * math.sqrt(rounds) / _t(rounds - 1)
    for total in range(rounds, MOST_ROUNDS + 1):
        reach = _t(total - 1) * spread / math.sqrt(total)
        estimate = Estimate(centre, centre - reach, centre + reach)
        if find(_exponential(estimate), margin) != "UNDECIDED":
            return total - rounds
    return None


def _exponential(estimate: Estimate | None) -> Estimate | None:
    return Estimate(*map(math.exp, estimate)) if estimate else None


@functools.lru_cache(maxsize=4096)
def _t(freedom: float) -> float:
    """Student's t that 95 % of a two-sided interval reaches to."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _binomial_cdf(most: int, trials: int, probability: float) -> float:
    """P(at most `most` of `trials` events of `probability`)."""
    from scipy import special

    return float(special.bdtr(most, trials, probability))

"""Statistics of samples. They are derived from records each time and never stored.

Latency varies more between processes than within one. So an interval uses one estimate per
process: mean ± t(0.975, k - 1) * s / sqrt(k) over k processes. A ratio uses blocks that were timed
next to each other. More samples of the same process narrow neither. Functions import SciPy when
they need it, because the import is too slow for every start of the command line.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from bench.text import plus_minus

CONFIDENCE = 0.95
MARGIN = 0.02  # smallest relevant difference of a ratio from 1
FEWEST_PROCESSES = 3  # for an interval; t(0.975, 1) = 12.7 makes an interval of two useless
FEWEST_FOR_MEDIAN = 11  # minimum samples for an interval of their median
TOO_FEW_BEYOND = 0.01  # largest allowed P(at most one sample lies beyond a percentile)
USUAL_SLOPE = 0.5  # prior standard deviation of the slope: log-ratio over log kernel time
FENCE = 1.5  # an outlier lies more than this many interquartile ranges off a quartile (Tukey)
LARGEST_LOG = 700.0  # exp(±709) are the limits of floating-point numbers
MOST_ROUNDS = 200  # upper limit of the search for a sufficient number of rounds
POWER = 0.8  # smallest probability that the rounds which are said to decide do decide

Finding = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED", "INVALID"]


class Summary(NamedTuple):
    """The latency, and mean, standard deviation and median of all samples, in seconds.

    `latency` is the mean of the processes' medians; the others pool the samples of all processes.
    `std` is the sample standard deviation, sqrt(sum((x - mean)^2) / (n - 1)), which the paper
    prints after "±"; nan for a single sample, and where samples are means of several calls.
    """

    latency: float
    mean: float
    std: float
    median: float
    samples: int
    processes: int

    @property
    def spread_ms(self) -> str:
        """Mean ± std of all iterations in ms: `11.9 ± 3.0`; only the mean if `std` is nan."""
        return plus_minus(1e3 * self.mean, 1e3 * self.std)


class Tail(NamedTuple):
    """Percentiles of the samples, in seconds; None where there are too few samples."""

    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class Estimate(NamedTuple):
    """A point estimate and its 95 % interval, in the unit of the estimated quantity."""

    point: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval relative to the point: (high - low) / (2 * point)."""
        return (self.high - self.low) / (2 * self.point)


def summarise(processes: Sequence[Sequence[float]], *, grouped: bool = False) -> Summary:
    """Pool the samples of all processes. Raises ValueError if there is no sample.

    `grouped`: a sample is the mean of several calls, so the deviation of the calls is not known.
    """
    pooled = [sample for samples in processes for sample in samples]
    if not pooled:
        raise ValueError("no samples to summarise")
    return Summary(
        latency=statistics.fmean(map(statistics.median, filter(None, processes))),
        mean=statistics.fmean(pooled),
        std=stdev(pooled) if len(pooled) > 1 and not grouped else math.nan,
        median=statistics.median(pooled),
        samples=len(pooled),
        processes=len(processes),
    )


def variance(values: Sequence[float]) -> float:
    """sum((x - mean)²) / (n - 1), for at least two values.

    It is ten times as fast as `statistics.variance`, which computes with fractions, and 0 for equal
    values, too.
    """
    if min(values) == max(values):
        return 0.0
    mean = statistics.fmean(values)
    return math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1)


def stdev(values: Sequence[float]) -> float:
    """The square root of the variance."""
    return math.sqrt(variance(values))


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if all values are None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate | None:
    """Mean of n independent values with its t interval; None for fewer than FEWEST_PROCESSES.

    mean ± t(0.975, n - 1) * s / sqrt(n). A value comes from one process, or from one round.
    """
    if len(values) < FEWEST_PROCESSES:
        return None
    spread = stdev(values)
    half = t_quantile(len(values) - 1, confidence) * spread / math.sqrt(len(values))
    mean = statistics.fmean(values) if spread else values[0]
    return Estimate(mean, mean - half, mean + half)


def latency(processes: Sequence[Sequence[float]]) -> Estimate | None:
    """Latency in seconds: the mean m of the processes' medians, with a positive interval.

    The interval is m * exp(±t(0.975, k - 1) * s / sqrt(k)), where s is the standard deviation of
    the logs of the k medians. Where they differ little, it equals the t interval of the mean. None
    for fewer than FEWEST_PROCESSES, and where an end is no floating-point number.
    """
    medians = [statistics.median(samples) for samples in processes]
    logs = mean_interval([math.log(median) for median in medians])
    if logs is None:
        return None
    return around(statistics.fmean(medians), logs.high - logs.point)


def around(point: float, half: float) -> Estimate | None:
    """The interval point * exp(±half); None where an end is no floating-point number."""
    centre = math.log(point)
    found = exponential(Estimate(centre, centre - half, centre + half))
    return found and found._replace(point=point)


def median_interval(samples: Sequence[float]) -> Estimate | None:
    """The median of one process's samples, with an interval between two order statistics.

    The interval is [x(r), x(n - r + 1)] with the largest r for which P(B(n, 1/2) < r) <= 2.5 %, so
    it covers at least 95 %. None for fewer than 11 samples. It does not hold for other processes.
    """
    n = len(samples)
    if n < FEWEST_FOR_MEDIAN:
        return None
    outside = 0
    while _binomial_cdf(outside, n, 0.5) <= (1 - CONFIDENCE) / 2:
        outside += 1
    ordered = sorted(samples)
    return Estimate(statistics.median(ordered), ordered[outside - 1], ordered[n - outside])


def fewest_samples(share: float) -> int:
    """The fewest samples of which `percentile` tells this share: 64 for p90, 130 for p95."""
    return next(n for n in itertools.count(1) if _supports(n, share))


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The value that a `share` of the samples does not exceed, by linear interpolation.

    None for too few samples: P(B(n, 1 - share) <= 1) must be at most 1 %, so that at least two
    samples lie beyond the percentile. So p90 needs 64 samples, p95 130 and p99 662.
    """
    if not samples or not _supports(len(samples), share):
        return None
    return quantile(samples, share)


def quantile(samples: Sequence[float], share: float) -> float:
    """The value at `share` * (n - 1) of the n sorted samples, by linear interpolation."""
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def tail(processes: Sequence[Sequence[float]], *, grouped: bool = False) -> Tail:
    """p90, p95 and p99 of all samples pooled over processes.

    `grouped`: a sample is the mean of several calls, so percentiles of the calls are not known.
    """
    if grouped:
        return Tail()
    pooled = [sample for samples in processes for sample in samples]
    return Tail(*(percentile(pooled, share) for share in (0.9, 0.95, 0.99)))


def count_outliers(samples: Sequence[float]) -> int:
    """The number of samples outside Tukey's fences, [Q1 - 1.5 IQR, Q3 + 1.5 IQR].

    Outliers are counted but never removed. Returns 0 for fewer than 4 samples.
    """
    if len(samples) < 4:
        return 0
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    reach = FENCE * (third - first)
    return sum(not first - reach <= sample <= third + reach for sample in samples)


def adjusted_ratio(
    rounds: Sequence[Sequence[float]],
    states: Sequence[Sequence[Sequence[float]]],
    reference: Sequence[float],
) -> Estimate | None:
    """The paired ratio, adjusted to the `reference` state of the machine.

    `states` holds a state for each log-ratio in `rounds`: the logs of p calibration kernel times.
    The model is log-ratio = a + b · (state - reference). b is fitted by ridge regression with the
    prior b ~ N(0, 0.5²), so on a steady machine b is near 0. The point is exp(a). The standard
    error is the jackknife's over k rounds, sqrt((k - 1) / k * sum((a_-i - mean(a_-i))²)), and t has
    k - 1 - p degrees of freedom. None if fewer than two degrees of freedom remain.
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
    half = t_quantile(freedom) * error
    return exponential(Estimate(everything, everything - half, everything + half))


def separate_ratio(
    base: Sequence[float], candidate: Sequence[float], drift: float
) -> Estimate | None:
    """The ratio candidate / base of processes that ran at different times.

    `base` and `candidate` hold one latency per process, in seconds. `drift` is the standard
    deviation of the log of the machine's speed between two times. The interval is Welch's for the
    difference d of mean logs, widened by the drift of both sides:
    exp(d ± t * sqrt(s_b²/n_b + s_c²/n_c + 2 * drift²)). None for fewer than FEWEST_PROCESSES a
    side, and where an end is no floating-point number.
    """
    if min(len(base), len(candidate)) < FEWEST_PROCESSES:
        return None
    sides = [[math.log(value) for value in side] for side in (base, candidate)]
    parts = [variance(side) / len(side) for side in sides]
    difference = statistics.fmean(sides[1]) - statistics.fmean(sides[0])
    weighed = sum(part**2 / (len(s) - 1) for part, s in zip(parts, sides, strict=True))
    freedom = sum(parts) ** 2 / weighed if weighed else min(map(len, sides)) - 1
    half = t_quantile(freedom) * math.sqrt(sum(parts) + 2 * drift**2)
    return exponential(Estimate(difference, difference - half, difference + half))


def find(ratio: Estimate | None, margin: float = MARGIN) -> Finding:
    """The finding for a ratio of latencies, candidate / base.

    FASTER if high < 1 / (1 + margin); SLOWER if low > 1 + margin; SAME if the whole interval lies
    between these limits; else UNDECIDED, also without a ratio.
    """
    if ratio is None:
        return "UNDECIDED"
    if ratio.high < 1 / (1 + margin):
        return "FASTER"
    if ratio.low > 1 + margin:
        return "SLOWER"
    return "SAME" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "UNDECIDED"


def more_rounds(ratio: Estimate, rounds: int, margin: float = MARGIN) -> int | None:
    """How many more rounds decide with a probability of at least 80 %, as far as k rounds tell.

    With mean m and standard deviation s of k log-ratios, the mean over n rounds lies at
    m + s * sqrt((n - k) / (n k)) * T, where T has Student's distribution with k - 1 degrees of
    freedom (the predictive distribution for a flat prior). Its interval is computed from the median
    of the distribution of the true spread, s * sqrt((k - 1) / median of chi²(k - 1)). None if 200
    rounds in total would not decide.
    """
    from scipy import special

    freedom = rounds - 1
    centre = math.log(ratio.point)
    half = max(math.log(ratio.high) - centre, centre - math.log(ratio.low))
    spread = half * math.sqrt(rounds) / t_quantile(freedom)
    likely = spread * math.sqrt(freedom / special.chdtri(freedom, 0.5))
    edge = math.log(1 + margin)
    for total in range(rounds + 1, MOST_ROUNDS + 1):
        reach = t_quantile(total - 1) * likely / math.sqrt(total)
        moves = spread * math.sqrt((total - rounds) / (total * rounds))
        limits = (-edge - reach, -edge + reach, edge - reach, edge + reach)
        faster, low, high, not_slower = (
            special.stdtr(freedom, (limit - centre) / moves) for limit in limits
        )
        if faster + max(high - low, 0.0) + 1 - not_slower >= POWER:
            return total - rounds
    return None


def share(count: float, total: float, confidence: float = CONFIDENCE) -> Estimate:
    """A probability from `count` of `total` trials, with Wilson's interval.

    With p = count / total and z the normal quantile:
    (p + z² / 2n ± z * sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n).
    """
    square = statistics.NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    point, scale = count / total, 1 + square / total
    centre = (point + square / (2 * total)) / scale
    half = math.sqrt(square * (point * (1 - point) / total + square / (4 * total**2))) / scale
    return Estimate(point, max(centre - half, 0.0), min(centre + half, 1.0))


def exponential(estimate: Estimate | None) -> Estimate | None:
    """exp of all three values; None where an end is no floating-point number."""
    if estimate is None or max(map(abs, estimate)) > LARGEST_LOG:
        return None
    return Estimate(*map(math.exp, estimate))


def outer(one: Estimate, other: Estimate) -> Estimate:
    """The first estimate, with the interval that holds both intervals."""
    return one._replace(low=min(one.low, other.low), high=max(one.high, other.high))


@functools.lru_cache(maxsize=4096)
def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The quantile of Student's t for a two-sided interval: of 97.5 % for a 95 % interval."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def _supports(count: int, share: float) -> bool:
    """Whether at least two of so many samples probably lie beyond the percentile."""
    return _binomial_cdf(1, count, 1 - share) <= TOO_FEW_BEYOND


def _binomial_cdf(most: int, trials: int, probability: float) -> float:
    """P(B(trials, probability) <= most) of the binomial distribution."""
    from scipy import special

    return float(special.bdtr(most, trials, probability))

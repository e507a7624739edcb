"""The ratio of two cases from log-ratios of blocks that were timed next to each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.analysis import stats
from bench.analysis.kinds import FREEDOM_OF_SEVERAL, Range, of_mixture, variance_within
from bench.analysis.stats import CONFIDENCE, Estimate

ROUNDING = 1e-9  # of a log-ratio: no clock tells rounds apart that are this near


def paired_ratio(
    rounds: Sequence[Sequence[float]], confidence: float = CONFIDENCE
) -> Estimate | None:
    """The ratio of two cases from log-ratios of neighbouring blocks, one list per round.

    The point is exp(m), where m is the mean of the k rounds' means. The interval is
    exp(m ± the larger of two half-widths):

    - between rounds: t(0.975, k - 1) * s / sqrt(k), where s is the standard deviation of the means;
    - within rounds: t(0.975, f) * sqrt(sum(v)) / k, where v = s² / n is the variance of the mean of
      a round's n blocks, and f = sum(v)² / sum(v² / (n - 1)) (Welch and Satterthwaite), but at
      least k - 1. It needs two blocks in each round.

    Few rounds are alike by chance too often, and their mean cannot be known better than their
    blocks allow. None for fewer than `stats.FEWEST_PROCESSES` rounds, and where an end is no
    floating-point number.
    """
    kinds = [rounds]
    return ratio_of_kinds(kinds, ranges_of_kinds(kinds, confidence), confidence)


def by_kind(
    rounds: Sequence[Sequence[float]], kinds: Sequence[object]
) -> list[list[Sequence[float]]]:
    """The rounds of each kind, in the order of the first of them; `kinds` has one for each round.

    All rounds are one kind where these are fewer than FREEDOM_OF_SEVERAL more than the kinds.
    """
    found: dict[object, list[Sequence[float]]] = {}
    for kind, blocks in zip(kinds, rounds, strict=True):
        found.setdefault(kind, []).append(blocks)
    if len(rounds) - len(found) < FREEDOM_OF_SEVERAL:
        return [list(rounds)]
    return list(found.values())


def ratio_of_kinds(
    kinds: Sequence[Sequence[Sequence[float]]],
    ranges: Sequence[Range],
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """The ratio of two cases whose processes come in kinds, for the mixture that was met.

    The interval holds the mean of the kinds' log-ratios, each in its interval of `ranges`
    (`ranges_of_kinds`), for each mixture that their numbers allow (`kinds.of_mixture`); the point
    is the mean of all rounds' means. None as in `paired_ratio`.
    """
    if not ranges:
        return None
    point = statistics.fmean(statistics.fmean(blocks) for rounds in kinds for blocks in rounds)
    return stats.exponential(Estimate(point, *of_mixture(ranges, confidence)))


def ranges_of_kinds(
    kinds: Sequence[Sequence[Sequence[float]]], confidence: float = CONFIDENCE
) -> list[Range]:
    """The interval of each kind's log-ratio; [] for fewer than `stats.FEWEST_PROCESSES` rounds.

    With g kinds among k rounds, and s the standard deviation of the rounds' means within a kind, a
    kind of n rounds with mean m has the interval m ± the larger of t(0.975, k - g) * s / sqrt(n)
    and the half-width within its rounds (`paired_ratio`).
    """
    means = [[statistics.fmean(blocks) for blocks in rounds] for rounds in kinds]
    total = sum(map(len, means))
    if total < stats.FEWEST_PROCESSES:
        return []
    reach = stats.t_quantile(total - len(kinds), confidence) * math.sqrt(variance_within(means))
    found = []
    for rounds, each in zip(kinds, means, strict=True):
        half = max(reach / math.sqrt(len(each)), _half_width_within(rounds, confidence))
        middle = statistics.fmean(each)
        found.append(Range(len(each), middle - half, middle + half))
    return found


def ratio_of_runs(runs: Sequence[Sequence[float]]) -> Estimate | None:
    """The ratio of two cases that differs between runs, each a list of its rounds' log-ratios.

    With r runs, k rounds, m the mean of all and m_i that of the n_i rounds of a run, runs differ if
    F = (sum(n_i (m_i - m)²) / (r - 1)) / (sum((x - m_i)²) / (k - r)) exceeds its 95 % quantile. The
    interval is then exp(m ± t(0.975, r - 1) * s / sqrt(r)), with s the standard deviation of the
    m_i: the rounds of one run do not tell how much the next one differs. None where the runs do not
    differ, and for fewer than `stats.FEWEST_PROCESSES` runs, which cannot tell.
    """
    if len(runs) < stats.FEWEST_PROCESSES or not _differ(runs):
        return None
    mean = statistics.fmean(value for each in runs for value in each)
    spread = statistics.stdev(map(statistics.fmean, runs))
    half = stats.t_quantile(len(runs) - 1) * spread / math.sqrt(len(runs))
    return stats.exponential(Estimate(mean, mean - half, mean + half))


def _differ(runs: Sequence[Sequence[float]]) -> bool:
    """Whether the means of the runs differ by more than their rounds explain, at the 5 % level."""
    from scipy import special

    everything = [value for each in runs for value in each]
    freedom, left = len(runs) - 1, len(everything) - len(runs)
    if not left:
        return False
    within = max(variance_within(runs), ROUNDING**2)
    mean = statistics.fmean(everything)
    between = sum(len(each) * (statistics.fmean(each) - mean) ** 2 for each in runs) / freedom
    return bool(special.fdtrc(freedom, left, between / within) < 1 - CONFIDENCE)


def _half_width_within(rounds: Sequence[Sequence[float]], confidence: float) -> float:
    """0.0 if a round has a single block, and if the blocks of each round are equal."""
    if min(map(len, rounds)) < 2:
        return 0.0
    parts = [statistics.variance(blocks) / len(blocks) for blocks in rounds]
    weighed = sum(part**2 / (len(b) - 1) for part, b in zip(parts, rounds, strict=True))
    if not weighed:
        return 0.0
    freedom = max(sum(parts) ** 2 / weighed, len(rounds) - 1)
    return stats.t_quantile(freedom, confidence) * math.sqrt(sum(parts)) / len(rounds)

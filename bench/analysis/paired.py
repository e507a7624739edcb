"""The ratio of two cases from log-ratios of blocks that were timed next to each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.analysis import stats
from bench.analysis.stats import CONFIDENCE, Estimate


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
    logs = stats.mean_interval([statistics.fmean(blocks) for blocks in rounds], confidence)
    if logs is None:
        return None
    half = max(logs.high - logs.point, _half_width_within(rounds, confidence))
    return stats.exponential(Estimate(logs.point, logs.point - half, logs.point + half))


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

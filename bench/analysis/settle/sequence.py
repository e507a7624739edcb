"""An interval that holds at every look: one may look after each round, and stop for any reason.

A t interval holds the truth with 95 % for a number of rounds that was fixed before. Who looks after
each round, and stops when the interval looks good, errs far more often. A confidence sequence holds
the truth at all looks together with 95 %.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from bench.analysis import stats
from bench.analysis.stats import Estimate

FEWEST = 3  # rounds; with two, the interval has no end
EFFECT = 3.0  # prior standard deviation of mean / standard deviation of one round


@functools.lru_cache(maxsize=4096)
def quantile(rounds: int, confidence: float = stats.CONFIDENCE) -> float:
    """The factor T of the interval mean ± T * s / sqrt(n) after n rounds; inf below FEWEST.

    The mixture of t tests over effects mean / standard deviation ~ N(0, g), g = EFFECT², has the
    likelihood ratio a^(-1/2) * ((1 + t²/v) / (1 + t²/(v a)))^((v + 1)/2) with v = n - 1 and
    a = 1 + n g. Under the true mean it is a martingale of the scale-invariant data, so it exceeds
    1 / (1 - confidence) at any look with probability 1 - confidence at most (Ville). With
    K = (a^(1/2) / (1 - confidence))^(2/(v + 1)), solving for t gives T² = v (K - 1) / (1 - K / a).
    Source: Lai (1976), "On confidence sequences", Ann. Statist. 4, 265-280; with this prior: Wang
    and Ramdas (2024), "Anytime-valid t-tests and confidence sequences for Gaussian means with
    unknown variance", Sequential Analysis.
    """
    if rounds < FEWEST:
        return math.inf
    freedom = rounds - 1
    spread = 1 + rounds * EFFECT**2
    level = (math.sqrt(spread) / (1 - confidence)) ** (2 / rounds)
    return math.sqrt(freedom * (level - 1) / (1 - level / spread))


def ratio(logs: Sequence[float]) -> Estimate | None:
    """The ratio of two cases from the log-ratio of each round; None for fewer than FEWEST rounds.

    exp(mean ± T * s / sqrt(n)), with T of `quantile`; also None where an end is no number.
    """
    if len(logs) < FEWEST:
        return None
    half = quantile(len(logs)) * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.fmean(logs)
    if abs(mean) + half > stats.LARGEST_LOG:
        return None
    return Estimate(*map(math.exp, (mean, mean - half, mean + half)))

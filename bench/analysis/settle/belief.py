"""What further rounds will show, as far as the rounds so far tell: only the choice relies on it."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import stats
from bench.analysis.settle import sequence

USUAL_SPREAD = 0.05  # prior standard deviation of the log-ratio of one round
PRIOR_FREEDOM = 2  # the prior counts as this many further rounds
HORIZONS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 38, 50, 66, 87, 115, 152, 200)  # rounds
MOST_ROUNDS = HORIZONS[-1]


class Belief(NamedTuple):
    """The mean log-ratio of `rounds` rounds, and the likely spread of one round.

    spread² = (2 * USUAL_SPREAD² + (n - 1) s²) / (n + 1), with n + 1 degrees of freedom.
    """

    rounds: int
    mean: float
    spread: float

    @classmethod
    def of(cls, logs: Sequence[float], apart: float) -> Belief:
        """The belief after these log-ratios; without any, `apart` stands for the mean."""
        seen = statistics.variance(logs) * (len(logs) - 1) if len(logs) > 1 else 0.0
        freedom = PRIOR_FREEDOM + max(len(logs) - 1, 0)
        spread = math.sqrt((PRIOR_FREEDOM * USUAL_SPREAD**2 + seen) / freedom)
        return cls(len(logs), statistics.fmean(logs) if logs else apart, spread)


@functools.lru_cache(maxsize=4096)
def chance(belief: Belief, more: int, margin: float) -> float:
    """The probability that the question is answered after `more` further rounds.

    With n rounds so far, mean m and spread s, the mean of all n + k rounds lies at
    m + s * sqrt(k / (n (n + k))) * t, where t has Student's distribution (the predictive
    distribution). It answers the question if it is farther than the interval's half-width
    T s / sqrt(n + k) outside of the margin, or inside of it.
    """
    from scipy import special

    known = max(belief.rounds, 1)  # latencies of different times count as one round
    total = belief.rounds + more
    freedom = PRIOR_FREEDOM + max(belief.rounds - 1, 0)
    reach = sequence.quantile(total) * belief.spread / math.sqrt(total)
    if math.isinf(reach):
        return 0.0
    moves = belief.spread * math.sqrt(more / (known * (known + more)))
    edge = math.log(1 + margin)
    limits = (-edge - reach, -edge + reach, edge - reach, edge + reach)
    faster, low, high, not_slower = (
        float(special.stdtr(freedom, (limit - belief.mean) / moves)) for limit in limits
    )
    return faster + max(high - low, 0.0) + 1 - not_slower


@functools.lru_cache(maxsize=4096)
def rate(belief: Belief, margin: float, held: int = 0) -> float:
    """The most answers a round that can be expected: max over k of chance(k rounds) / k.

    Only k >= `held` count: with fewer rounds, something else than the interval forbids an answer.
    This is the index of a job of unknown length: of all jobs, the one with the highest index should
    run next. Source: Sevcik (1974), "Scheduling for minimum total loss using service time
    distributions", J. ACM 21, 66-75; Gittins (1979), "Bandit processes and dynamic allocation
    indices", J. R. Stat. Soc. B 41, 148-177.
    """
    held = min(held, MOST_ROUNDS)
    return max(chance(belief, more, margin) / more for more in HORIZONS if more >= held)


@functools.lru_cache(maxsize=4096)
def rounds_needed(belief: Belief, margin: float, held: int = 0) -> int | None:
    """How many further rounds, at least `held`, answer with 80 %; None if 200 would not."""
    enough = (k for k in HORIZONS if k >= held and chance(belief, k, margin) >= stats.POWER)
    return next(enough, None)

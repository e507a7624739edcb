"""How long a further round is timed: as long as decides most per second.

The log-ratio of two cases varies between rounds by B + W / t: by B, whatever is measured, and by
the noise within a round, which t timed seconds average. A case costs F + c t seconds a round. Both
together are least, as (B + W / t) (F + c t), at t = sqrt(F W / (c B)). Source: Cochran (1977),
"Sampling Techniques", third edition, section 10.6: optimum sampling in two stages.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from bench.analysis.pairs import Pair, paired, pairs_of
from bench.analysis.settle.seconds import round_seconds
from bench.records import Measurement

FEWEST = 3  # rounds of a pair; those of fewer than two blocks do not tell their noise
LONGEST = 4.0  # times the usual seconds: fewer, longer rounds have wider intervals

Rounds = Sequence[Measurement]


def best_timed_s(pairs: Iterable[tuple[Rounds, Rounds]], usual_s: float, block_s: float) -> float:
    """The timed seconds of a round, from `usual_s` to LONGEST times that.

    `pairs` are the rounds of the two cases of each question. The usual seconds are best where none
    has FEWEST rounds in which both took turns, or where there is no noise. A block of `block_s`
    seconds costs a call more, since its first one is discarded.
    """
    found = [known for each in pairs if len(known := _telling(*each)) >= FEWEST]
    if not found:
        return usual_s
    records = [record for known in found for both in known for record in both]
    logs = [[pairs_of(*both) for both in known] for known in found]
    within = statistics.fmean(_error(each) for rounds in logs for each in rounds)
    total = statistics.fmean(statistics.variance(map(_mean, rounds)) for rounds in logs)
    timed_s = statistics.fmean(sum(record.samples_s) for record in records)
    per_second = 1 + statistics.fmean(map(statistics.median, _samples(records))) / block_s
    shares_s = statistics.fmean(record.share_s for record in records)
    fixed_s = shares_s + round_seconds(records) - per_second * timed_s
    between = total - within
    if not within:
        return usual_s
    if between <= 0:
        return LONGEST * usual_s
    best = math.sqrt(max(fixed_s, 0) * within * timed_s / (per_second * between))
    return min(max(best, usual_s), LONGEST * usual_s)


def _telling(base: Rounds, candidate: Rounds) -> list[tuple[Measurement, Measurement]]:
    """The rounds in which both took turns, for more than one block."""
    return [
        (mine, theirs)
        for mine, theirs in paired(base, candidate)
        if min(len(mine.block_sizes), len(theirs.block_sizes)) > 1
    ]


def _samples(records: Iterable[Measurement]) -> list[list[float]]:
    return [record.samples_s for record in records]


def _mean(pairs: Sequence[Pair]) -> float:
    """The log-ratio of a round."""
    return statistics.fmean(pair.log_ratio for pair in pairs)


def _error(pairs: Sequence[Pair]) -> float:
    """The variance of that mean, due to the noise within the round."""
    return statistics.variance(pair.log_ratio for pair in pairs) / len(pairs)

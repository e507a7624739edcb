"""How long a further round takes, from the rounds on record."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.records import Measurement


def round_seconds(rounds: Sequence[Measurement]) -> float:
    """Seconds of a round of one case: the median over `rounds`, without the start of the round.

    The time for which the chip was observed is left out, since that happens once for a case.
    """
    return statistics.median(record.stages_s.total - record.stages_s.observe for record in rounds)


def start_seconds(records: Iterable[Measurement]) -> float:
    """Seconds of the start of a round, which its cases share: the median over all rounds.

    The records of one round have equal shares.
    """
    shares = Counter((record.run_id, record.share_s) for record in records)
    return statistics.median(share_s * count for (_, share_s), count in shares.items())

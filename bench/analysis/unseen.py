"""Whether a network is slower on images that it never saw before: it may keep its answers. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

LIMIT = 1.5  # times as long as a call on images that it knows
LEAST_S = 20e-6  # a smaller difference is no doubt: the first call after a copy may be slower


def slowdown(
    unseen_s: Sequence[float], repeated_s: Sequence[float], typical_s: float
) -> float | None:
    """Return how many times as long calls on unseen images take, if that is a doubt; else None.

    The ratio is min(unseen_s) / max(median(repeated_s), typical_s). It must exceed LIMIT, and the
    difference LEAST_S. `repeated_s` are calls on known images that took turns with the others, so
    that a busy machine slows both; `typical_s` is the median of the timed calls.
    """
    if not unseen_s:
        return None
    known_s = max(statistics.median(repeated_s) if repeated_s else 0.0, typical_s)
    fastest_s = min(unseen_s)
    is_slower = fastest_s > LIMIT * known_s and fastest_s - known_s > LEAST_S
    return fastest_s / known_s if is_slower else None

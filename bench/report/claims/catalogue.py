"""Every claim about efficiency, grouped by subject.

Sections, tables and figures are the paper's. Claims about accuracy are not included.
"""

from __future__ import annotations

import functools

from bench.report.claims import (
    against_others,
    reparameterisation,
    size_and_memory,
    throughput,
    training,
    where_time_goes,
)
from bench.report.claims.claim import Claim


@functools.lru_cache(maxsize=1)
def groups() -> dict[str, tuple[Claim, ...]]:
    """All claims by heading."""
    return {
        "Size and memory": size_and_memory.claims(),
        "Re-parameterisation": reparameterisation.claims(),
        "Throughput": throughput.claims(),
        "Training": training.claims(),
        "Against other networks": against_others.claims(),
        **where_time_goes.groups(),
    }


def claims() -> list[Claim]:
    """All claims in the order of their numbers."""
    every = [claim for group in groups().values() for claim in group]
    return sorted(every, key=lambda claim: claim.number)

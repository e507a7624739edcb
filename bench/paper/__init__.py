"""What the paper reports, and what we count of its networks: never in one column.

The files in `data/`; none of them needs torch to be read.
"""

from bench.paper.tables import (
    DIFFERENCES,
    Counted,
    Reported,
    counted,
    counts_of,
    find,
    macs,
    reported,
)

__all__ = [
    "DIFFERENCES",
    "Counted",
    "Reported",
    "counted",
    "counts_of",
    "find",
    "macs",
    "reported",
]

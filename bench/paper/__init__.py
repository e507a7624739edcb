"""Numbers from the paper, and our own counts of its networks. The two never share a column.

The numbers are in the files of `data/`. Reading them needs no torch.
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

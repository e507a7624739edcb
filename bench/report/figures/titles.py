"""What a row is called in a picture. Pure."""

from __future__ import annotations

from bench.analysis.rows import Row
from bench.models import naming
from bench.report.figures.canvas import fitted

LONGEST = 36  # letters of a title


def title_of(row: Row) -> str:
    """The title of its case as it can be drawn, with its threads where they are unusual."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return fitted(naming.title(row.case, with_threads=unusual), LONGEST)


def setting_of(row: Row) -> str:
    """What is unusual about how it was run: backend, precision, resolution, threads."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return naming.setting(row.case, with_threads=unusual)

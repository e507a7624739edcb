"""The title of a row in a figure. Pure."""

from __future__ import annotations

from bench.analysis.rows import Row
from bench.models import naming
from bench.report.figures.canvas import fitted

LONGEST = 36  # letters


def title_of(row: Row) -> str:
    """The drawable title of a row's case; includes the threads if they differ from the default."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return fitted(naming.title(row.case, with_threads=unusual), LONGEST)


def setting_of(row: Row) -> str:
    """The backend, precision, resolution and threads of a row, where they differ from the usual."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return naming.setting(row.case, with_threads=unusual)

"""The title of a row in a figure. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.rows import Row
from bench.devices import has_queue
from bench.models import naming
from bench.records import Case
from bench.report.figures.canvas import fitted

LONGEST = 52  # letters


def title_of(row: Row) -> str:
    """The drawable title of a row's case; includes the threads if they differ from the default."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return fitted(naming.title(row.case, with_threads=unusual), LONGEST)


def setting_of(row: Row) -> str:
    """The backend, precision, resolution and threads of a row, where they differ from the usual."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return naming.setting(row.case, with_threads=unusual)


def settings_of(cases: Sequence[Case]) -> str:
    """All settings of the cases: `batch 1, eager, fp32, 224², 2 threads`.

    Several values of one setting are joined by "or". Threads are those of a CPU that computes.
    """
    values = [
        [f"batch {case.batch}" for case in cases],
        [case.backend for case in cases],
        [case.precision for case in cases],
        [f"{case.resolution}²" for case in cases],
        [naming.threads(case.threads) for case in cases if not has_queue(case.device)],
    ]
    return ", ".join(" or ".join(dict.fromkeys(each)) for each in values if each)

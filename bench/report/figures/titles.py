"""The title of a row in a figure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.analysis.rows import Row
from bench.devices import has_queue
from bench.models import naming
from bench.records import DEFAULT, Case
from bench.report.figures.canvas import fitted, literal, shortened

LONGEST = 52  # letters
USUAL_NAME, LETTER = 26, 0.075  # letters that a figure has room for, inches of one more


def with_room(width: float, names: Iterable[str]) -> float:
    """A figure's width in inches, widened for the longest line of the names beside its axes."""
    longest = max((len(line) for name in names for line in name.splitlines()), default=0)
    return width + LETTER * max(longest - USUAL_NAME, 0)


def title_of(row: Row) -> str:
    """The drawable title of a row's case; includes the threads if they differ from the default."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return fitted(naming.title(row.case, with_threads=unusual), LONGEST)


def setting_of(row: Row) -> str:
    """The backend, precision, resolution and threads of a row, where they differ from the usual."""
    unusual = naming.has_unusual_threads(row.case, row.chip)
    return naming.setting(row.case, with_threads=unusual)


def settings_of(cases: Sequence[Case]) -> str:
    """All settings of the cases, drawable: `batch 1, eager, fp32, 224², 2 threads`.

    Several values of one setting are joined by "or". Threads are those of a CPU that computes.
    """
    values = [
        [f"batch {case.batch}" for case in cases],
        [case.backend for case in cases],
        [case.precision for case in cases],
        [f"{case.resolution}²" for case in cases],
        [naming.threads(case.threads) for case in cases if not has_queue(case.device)],
        _allocations(cases),
    ]
    return literal(", ".join(" or ".join(dict.fromkeys(each)) for each in values if each))


def _allocations(cases: Sequence[Case]) -> list[str]:
    """Allocator and huge pages of each case; [] if all have the default."""
    found = [shortened(naming.allocation(case), LONGEST) for case in cases]
    return [each or DEFAULT for each in found] if any(found) else []

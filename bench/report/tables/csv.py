"""Writing CSV, for tables and claims."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

CSV_DIGITS = 6

Value = str | int | float | None


def to_csv(header: Iterable[str], lines: Iterable[Iterable[Value]]) -> str:
    """CSV text; floats have six significant digits, None and nan are empty cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_short(value) for value in line] for line in lines)
    return text.getvalue()


def _short(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{CSV_DIGITS}g}" if isinstance(value, float) else str(value)

"""What tables and claims share as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

CSV_DIGITS = 6

Value = str | int | float | None


def to_csv(header: Iterable[str], lines: Iterable[Iterable[Value]]) -> str:
    """Numbers to six significant digits; what is None or nan is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_short(value) for value in line] for line in lines)
    return text.getvalue()


def _short(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{CSV_DIGITS}g}" if isinstance(value, float) else str(value)

"""Writing CSV, for tables and claims."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from bench.text import csv_cell

CSV_DIGITS = 6

Value = str | int | float | None


def to_csv(header: Iterable[str], lines: Iterable[Iterable[Value]]) -> str:
    """CSV text; floats have six significant digits, None and nan are empty cells.

    No spreadsheet runs a cell as a formula (`bench.text.csv_cell`).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, header))
    writer.writerows([_short(value) for value in line] for line in lines)
    return text.getvalue()


def _short(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return csv_cell(value)
    return f"{value:.{CSV_DIGITS}g}" if isinstance(value, float) else str(value)

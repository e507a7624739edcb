"""Formatting of numbers and durations, and one function per target that makes text harmless.

Names and messages may come from anyone. Before they are shown, they pass through `printable` for a
terminal, `markdown` or `markdown_code`, `to_json`, `in_script` for the HTML page, or `csv_cell`.
LaTeX has `bench.report.tables.latex.escape`, pictures have `bench.report.figures.canvas.literal`,
and the folder of a chip has `Chip.slug`.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import msgspec

NOT_MEASURED = "not measured"
NOTHING = "–"
SPREAD_MS = "Mean ± std of all iterations (ms)"  # the heading of a column
GIGA, MEGA, MIB, GIB = 1e9, 1e6, 2**20, 2**30
ENDS_SHOWN = 1000  # characters shown of each end of a long text
# A path that is absolute or starts with ~, . or ..; it ends at white space, a quote or a colon.
OUTSIDE_PATH = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)/?")
MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&$]|(?<![^\W_])_|_(?![^\W_])")
SCRIPT = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}  # no markup inside <script>
# What a spreadsheet runs as a formula, and what our readers take for such a cell made harmless.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
HARMLESS = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?( ?%)?", re.ASCII | re.IGNORECASE)


def significant(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits and no exponent; a dash for None, nan and inf."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    exponent = int(
        f"{value:.{digits - 1}e}".partition("e")[2]
    )  # of the rounded value, so that 9.996 gives 10.0
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def plus_minus(mean: float, std: float, digits: int = 3) -> str:
    """`11.9 ± 3.0`, both with the decimals of the mean; only the mean if `std` is nan."""
    text = significant(mean, digits)
    if math.isnan(std):
        return text
    decimals = len(text.partition(".")[2])
    return f"{text} ± {std:.{decimals}f}"


def between(point: float, low: float, high: float) -> str:
    """A ratio with its interval: `1.28 (1.24 to 1.33)`."""
    return f"{point:.2f} ({low:.2f} to {high:.2f})"


def duration(seconds: float) -> str:
    """A duration in a suitable unit: `40 s`, `6 min`, `2.5 h`."""
    return " ".join(duration_in_unit(seconds))


def duration_in_unit(seconds: float) -> tuple[str, str]:
    """The digits and the unit of a duration: ("40", "s"), ("2.5", "h")."""
    if seconds < 60:
        return f"{seconds:.0f}", "s"
    if seconds < 5400:
        return f"{seconds / 60:.0f}", "min"
    return f"{seconds / 3600:.1f}", "h"


def milliseconds(seconds: float | None) -> float | None:
    """Convert seconds to milliseconds; None stays None."""
    return None if seconds is None else seconds * 1e3


def in_unit(unit: float, value: float | None) -> float | None:
    """value / unit; None stays None."""
    return None if value is None else value / unit


def facts(
    known: Mapping[str, str | int | float | None], variables: Mapping[str, str] | None = None
) -> str:
    """`{"memory_gib": 8, "logical_cores": 2}` to `8 GiB memory, logical cores 2`.

    Variables of the shell follow as `OMP_THREAD_LIMIT=1`.
    """
    words = [
        f"{value} GiB {key.removesuffix('_gib')}"
        if key.endswith("_gib")
        else f"{key.replace('_', ' ')} {value}"
        for key, value in known.items()
        if value is not None
    ]
    words += [f"{name}={value}" for name, value in (variables or {}).items()]
    return ", ".join(words)


def markdown(text: str) -> str:
    """`text` for a cell of a Markdown table: one line, with markup escaped.

    Characters that are not printable are removed, so terminal control codes have no effect. An
    underscore inside a word is no markup and stays as it is.
    """
    words = " ".join(text.split())
    return MARKUP.sub(r"\\\g<0>", "".join(each for each in words if each.isprintable()))


def markdown_code(text: str) -> str:
    """`text` as code in Markdown; as plain text if it has letters that would end or alter code."""
    shown = markdown(text)
    return f"`{text}`" if shown == text else shown


def printable(text: str) -> str:
    """`text` as one line of bounded length, with characters that are not printable escaped."""
    is_long = len(text) > 2 * ENDS_SHOWN
    shown = f"{text[:ENDS_SHOWN]}…{text[-ENDS_SHOWN:]}" if is_long else text
    return "".join(map(_escaped, shown))


def csv_cell(text: str) -> str:
    """`text` for a cell of a CSV file: no spreadsheet runs it as a formula.

    A text that begins with = + - @, a tab or a carriage return gets an apostrophe in front, unless
    it is a number. `from_csv_cell` is the inverse. Control characters are escaped, but not tabs and
    line ends.
    """
    is_formula = FORMULA.match(text) and not NUMBER.fullmatch(text)
    return f"'{visible(text)}" if is_formula else visible(text)


def from_csv_cell(cell: str) -> str:
    """The text of a cell that `csv_cell` made, or that somebody typed."""
    return cell[1:] if HARMLESS.match(cell) else cell


def to_json(value: object, indent: int | None = None) -> str:
    """`value`, of structs too, as JSON in ASCII; nan is null.

    A text is read back unchanged, but for bytes of a file name that are not UTF-8.
    """
    plain = mapped(msgspec.to_builtins(value), _without_surrogates)
    return json.dumps(plain, indent=indent).replace("\x7f", "\\u007f")


def in_script(value: object) -> str:
    """`value` as JSON for a <script> of an HTML page, which shows the texts of `value` as text."""
    plain = mapped(msgspec.to_builtins(value), visible)
    return msgspec.json.encode(plain).decode().translate(SCRIPT)


def visible(text: str) -> str:
    """`text` with characters that cannot be seen escaped, but not spaces, tabs and line ends."""
    if text.isprintable():
        return text
    return "".join(letter if _is_space(letter) else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _is_space(letter: str) -> bool:
    return letter in "\t\n\r" or unicodedata.category(letter) == "Zs"


def _without_surrogates(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def mapped(value: object, change: Callable[[str], str]) -> object:
    """The same lists and dictionaries with every text changed, and None for nan and inf."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {mapped(key, change): mapped(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [mapped(each, change) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_paths(text: str) -> str:
    """`text` with each path outside the working folder reduced to its last part.

    Records may be published, and such a path often contains a user's name.
    """
    return OUTSIDE_PATH.sub(r"\1", text)


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version or a compute capability: `12.6` gives (12, 6)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """The first names: `a, b, c and 4 more`."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def brief(error: Exception) -> str:
    """The type of an error and the first line of its message, without paths outside this folder."""
    first = str(error).strip().partition("\n")[0][:200]
    kind = type(error).__name__
    return printable(without_paths(f"{kind}: {first}" if first else kind))

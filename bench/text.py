"""How numbers and names are written: the one module that formats."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

NOT_MEASURED = "not measured"
NOTHING = "–"
GIGA, MEGA, MIB, GIB = 1e9, 1e6, 2**20, 2**30
ENDS_SHOWN = 1000  # letters of a long text, of its beginning and of its end
# Absolute, or beginning with ~ or dots; ends at white space, a quote or a colon.
OUTSIDE_PATH = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)/?")
MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<![^\W_])_|_(?![^\W_])")


def significant(value: float | None, digits: int = 3) -> str:
    """`value` to so many significant digits, never in exponents; a dash for None or nan."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def plus_minus(mean: float, std: float, digits: int = 3) -> str:
    """Both to the decimals of the mean: 11.9 ± 3.0; the mean alone where std is not known."""
    text = significant(mean, digits)
    if math.isnan(std):
        return text
    decimals = len(text.partition(".")[2])
    return f"{text} ± {std:.{decimals}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 6 min, 2.5 h."""
    return " ".join(duration_in_unit(seconds))


def duration_in_unit(seconds: float) -> tuple[str, str]:
    """A duration's digits and its unit, as people say them: ("40", "s"), ("2.5", "h")."""
    if seconds < 60:
        return f"{seconds:.0f}", "s"
    if seconds < 5400:
        return f"{seconds / 60:.0f}", "min"
    return f"{seconds / 3600:.1f}", "h"


def milliseconds(seconds: float | None) -> float | None:
    """Seconds to milliseconds."""
    return None if seconds is None else seconds * 1e3


def in_unit(unit: float, value: float | None) -> float | None:
    """A number in units of `unit`; None stays None."""
    return None if value is None else value / unit


def facts(known: Mapping[str, str | int | float | None]) -> str:
    """`{"memory_gib": 8, "logical_cores": 2}` to `8 GiB memory, logical cores 2`."""
    words = [
        f"{value} GiB {key.removesuffix('_gib')}"
        if key.endswith("_gib")
        else f"{key.replace('_', ' ')} {value}"
        for key, value in known.items()
        if value is not None
    ]
    return ", ".join(words)


def markdown(text: str) -> str:
    """`text` as a cell of a Markdown table shows it: no markup, no end of cell, one line.

    Nothing in it is left that a terminal would obey.

    An underscore inside a word is no markup and stays as it is.
    """
    words = " ".join(text.split())
    return MARKUP.sub(r"\\\g<0>", "".join(each for each in words if each.isprintable()))


def printable(text: str) -> str:
    """`text` as one line of bounded length, without anything that a terminal would obey."""
    is_long = len(text) > 2 * ENDS_SHOWN
    shown = f"{text[:ENDS_SHOWN]}…{text[-ENDS_SHOWN:]}" if is_long else text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in shown
    )


def without_paths(text: str) -> str:
    """`text` with every path that leaves the working folder cut to its last part.

    Records leave the machine, and such a path names its user.
    """
    return OUTSIDE_PATH.sub(r"\1", text)

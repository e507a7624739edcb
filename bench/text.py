"""Formatting of numbers, durations and names for output."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

NOT_MEASURED = "not measured"
NOTHING = "–"
GIGA, MEGA, MIB, GIB = 1e9, 1e6, 2**20, 2**30
ENDS_SHOWN = 1000  # characters shown of each end of a long text
# A path that is absolute or starts with ~, . or ..; it ends at white space, a quote or a colon.
OUTSIDE_PATH = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)/?")
MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<![^\W_])_|_(?![^\W_])")


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


def printable(text: str) -> str:
    """`text` as one line of bounded length, with characters that are not printable escaped."""
    is_long = len(text) > 2 * ENDS_SHOWN
    shown = f"{text[:ENDS_SHOWN]}…{text[-ENDS_SHOWN:]}" if is_long else text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in shown
    )


def without_paths(text: str) -> str:
    """`text` with each path outside the working folder reduced to its last part.

    Records may be published, and such a path often contains a user's name.
    """
    return OUTSIDE_PATH.sub(r"\1", text)


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """The first names: `a, b, c and 4 more`."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def brief(error: Exception) -> str:
    """The type of an error and the first line of its message, without paths outside this folder."""
    first = str(error).strip().partition("\n")[0][:200]
    kind = type(error).__name__
    return printable(without_paths(f"{kind}: {first}" if first else kind))

"""Shared by all figures: the style, text helpers, and rendering to PNG, SVG and PDF."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.devices.installation import how_to_install
from bench.errors import UsageError
from bench.text import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("bench.mplstyle")
FONT = "DejaVu Sans"
LACKING = "□"  # replaces a letter that the font does not have
FORMATS = ("png", "svg")
PDF = ("pdf",)
# Without these entries the files contain the date and matplotlib's version.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
PALE = {"VALID": 0.0, "SUSPECT": 0.4, "INVALID": 0.8}  # share of white, by verdict
CONTRAST = 4.5  # of text and white: the least for text of a normal size in WCAG 2
LOG_SPREAD = 8.0  # the axis is logarithmic if max / min exceeds this
MARGIN, LEAST_MARGIN = 0.05, 0.02  # room at the ends of an axis: share of the range, of the maximum
MOST_DECADES = 4  # up to so many decades, 2 and 5 have ticks too
MOST_TICKS = 12
PLAIN = (1e-4, 1e4)  # numbers outside this range are printed with an exponent
MOST_LINES = 3  # lines of a list of names below a figure


def drawn(draw: Callable[[Axes], None], size: tuple[float, float] | None = None) -> bytes:
    """Call `draw` on axes of `size` inches; return the PNG. The same input gives the same bytes."""
    return painted(lambda figure: draw(figure.subplots()), size, FORMATS[:1])["png"]


def painted(
    paint: Callable[[Figure], None],
    size: tuple[float, float] | None = None,
    formats: Sequence[str] = FORMATS,
) -> dict[str, bytes]:
    """Call `paint` on an empty figure of `size` inches; return the bytes of each format.

    The same input gives the same bytes. Raises UsageError if the font is missing.
    """
    saved = {}
    with canvas(size) as figure:
        paint(figure)
        for format in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=format, metadata=METADATA[format])
            saved[format] = buffer.getvalue()
            figure.set_layout_engine(None)  # keep one layout for all formats
    return saved


@contextlib.contextmanager
def canvas(size: tuple[float, float] | None = None) -> Iterator[Figure]:
    """An empty figure of `size` inches; the style applies inside the `with` block."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _glyphs()
    with style.context(STYLE, after_reset=True):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def mixed(colour: str, other: str, share: float) -> str:
    """(1 − share) `colour` + share `other`, per RGB channel, as `#rrggbb`."""
    from matplotlib.colors import to_hex, to_rgb

    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = ((1 - share) * one + share * two for one, two in pairs)
    return to_hex((red, green, blue))


def readable(colour: str) -> str:
    """`colour` for small text on white: mixed with black until its contrast is CONTRAST (WCAG)."""
    from matplotlib.colors import to_rgb

    for step in range(10):
        found = mixed(colour, "black", step / 10)
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(found)
        )
        if 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= CONTRAST:
            return found
    return "#000000"


def compact(value: float) -> str:
    """Three significant digits; outside PLAIN two digits and an exponent, such as 2.5e+9."""
    if not value or math.isnan(value) or PLAIN[0] <= abs(value) < PLAIN[1]:
        return significant(value)
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent):+d}" if exponent else digits


def literal(text: str) -> str:
    """`text` with a box in place of each letter that the font does not have, or nobody can see."""
    return "".join(letter if letter == "\n" or _is_drawable(letter) else LACKING for letter in text)


def shortened(text: str, most: int) -> str:
    """`text` on one line of at most `most` letters; a longer text loses its middle.

    Both ends stay, because similar names may differ at either end.
    """
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    tail = most // 3
    return f"{line[: most - tail - 1]}…{line[-tail:]}"


def fitted(text: str, most: int) -> str:
    """`literal` and `shortened`: one drawable line of at most `most` letters."""
    return literal(shortened(text, most))


def listed(head: str, names: Sequence[str], width: int) -> list[str]:
    """`head` and `names` on at most MOST_LINES lines of `width` letters, then "and n more"."""
    if not names:
        return []
    ends = itertools.accumulate((len(name) + 2 for name in names), initial=len(head))
    count = sum(end <= MOST_LINES * width for end in ends) - 1
    while True:
        left = len(names) - count
        more = f" and {left} more" if left else ""
        lines = textwrap.wrap(head + ", ".join(names[:count]) + more, width)
        if len(lines) <= MOST_LINES or not count:
            return lines
        count -= 1


def positive_axis(axes: Axes, low: float, high: float) -> None:
    """Set the x axis for positive values from `low` to `high`; logarithmic beyond LOG_SPREAD."""
    from matplotlib.ticker import LogLocator, NullLocator

    if high > LOG_SPREAD * low:
        decades = math.log10(high) - math.log10(low)
        digits = (1.0, 2.0, 5.0) if decades <= MOST_DECADES else (1.0,)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=digits, numticks=MOST_TICKS))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        room = high**MARGIN / low**MARGIN
        axes.set_xlim(low / room, high * room)
    else:
        room = max(MARGIN * (high - low), LEAST_MARGIN * high)
        axes.set_xlim(low - room, high + room)


def _is_drawable(letter: str) -> bool:
    return letter.isprintable() and ord(letter) in _glyphs()


@functools.lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """Code points of the characters that the font has. Raises UsageError without the font."""
    from matplotlib import font_manager

    try:
        path = font_manager.findfont(FONT, fallback_to_default=False)
    except ValueError as error:
        raise UsageError(
            f"matplotlib does not find {FONT}, the font of all figures",
            f"Reinstall matplotlib, which has it: {how_to_install('matplotlib', again=True)}",
        ) from error
    return frozenset(font_manager.get_font(path).get_charmap())

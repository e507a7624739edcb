"""What all pictures share: the style, the palette, and how a drawing becomes a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, legible with any colour vision; a second turn is dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLE: Any = {
    "figure.figsize": (9.0, 5.0),
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "bench",  # else the names of an SVG's parts are random
}
# What a file says of itself would change with the date or with matplotlib's version.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def drawn(draw: Callable[[Axes], None], size: tuple[float, float] | None = None) -> bytes:
    """What `draw` paints on axes of `size` inches, as a PNG: the same bytes each time."""
    return painted(lambda figure: draw(figure.subplots()), size)


def painted(
    paint: Callable[[Figure], None], size: tuple[float, float] | None = None, format: str = "png"
) -> bytes:
    """What `paint` makes of an empty figure, as a PNG or an SVG: the same bytes each time."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=size, layout="constrained")
        try:
            paint(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format=format, metadata=METADATA[format])
        finally:
            pyplot.close(figure)
    return buffer.getvalue()


def literal(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")

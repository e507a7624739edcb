"""Figures before they are encoded as a picture."""

import contextlib

from bench.report.figures.canvas import canvas


@contextlib.contextmanager
def drawn(size, paint, *arguments):
    """Yield a figure of `size` inches after `paint(figure, *arguments)` has drawn on it."""
    with canvas(size) as figure:
        paint(figure, *arguments)
        figure.canvas.draw()
        yield figure


def legend(figure):
    """Return the texts of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]

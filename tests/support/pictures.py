"""Pictures as they are painted, before they are encoded."""

import contextlib

from bench.report.figures.canvas import canvas


@contextlib.contextmanager
def drawn(size, paint, *arguments):
    """A figure of `size` inches on which `paint` has painted the arguments."""
    with canvas(size) as figure:
        paint(figure, *arguments)
        figure.canvas.draw()
        yield figure


def legend(figure):
    """The words of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]

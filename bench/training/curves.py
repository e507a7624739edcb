"""The picture of a training: loss and accuracies over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.report.figures.canvas import fitted, painted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.training.trainer import Epoch

SIZE = (6.5, 2.8)
LONGEST = 60
LOSS, TOP1, EMA = "#555555", "#0066cc", "#c0562a"


def draw(history: Sequence[Epoch], model: str) -> dict[str, bytes]:
    """Return `curves.png`; the same history gives the same bytes."""
    found = painted(lambda figure: _paint(figure, history, model), SIZE, ("png",))
    return {"curves.png": found["png"]}


def _paint(figure: Figure, history: Sequence[Epoch], model: str) -> None:
    left, right = figure.subplots(1, 2)
    epochs = [each.epoch for each in history]
    left.plot(epochs, [each.loss for each in history], "o-", color=LOSS, markersize=3)
    left.set_ylabel("loss, with augmented images")
    right.plot(
        epochs, [each.top1 for each in history], "o-", color=TOP1, markersize=3, label="weights"
    )
    averaged = [each.top1_ema for each in history if each.top1_ema is not None]
    if averaged:
        right.plot(epochs, averaged, "o-", color=EMA, markersize=3, label="averaged weights")
    right.set_ylabel("top-1 on held-out images (%)")
    right.legend(loc="lower right", fontsize=7)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(fitted(model, LONGEST), fontsize=9)

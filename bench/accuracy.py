"""Top-1 accuracy of networks, and who says so: never without its source, data set and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bench import paper

IMAGENET = "imagenet1k"

Source = Literal["measured", "paper", "timm"]


class Accuracy(msgspec.Struct, frozen=True):
    """Top-1 accuracy in per cent on a data set, of images of `input_size` pixels a side.

    `source` is who says so: `paper` (its tables), `timm` (its published results of the weights
    named in `detail`), or `measured` (given by the user).
    """

    top1: float
    dataset: str
    input_size: int
    source: Source
    detail: str


class Given(msgspec.Struct, frozen=True):
    """An accuracy that the user gives, and the model that has it."""

    model: str
    accuracy: Accuracy


def of(model: str, input_size: int, given: Sequence[Given] = ()) -> list[Accuracy]:
    """What is known of `model` at `input_size` pixels, one of each data set.

    What the user gives outweighs the paper, the paper outweighs timm's published results.
    """
    known = [each.accuracy for each in given if each.model == model]
    known += [*_of_paper(model), *_of_timm(model)]
    fitting = [each for each in known if each.input_size == input_size]
    return list({each.dataset: each for each in reversed(fitting)}.values())[::-1]


def _of_paper(model: str) -> list[Accuracy]:
    return [
        Accuracy(row.top1, row.dataset, row.input_size, "paper", f"Table {row.table}")
        for row in paper.reported()
        if row.model == model and row.top1 is not None
    ]


def _of_timm(model: str) -> list[Accuracy]:
    return []

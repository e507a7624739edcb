"""The inputs of a network: seeded random images, or what the user's `example_inputs` returns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.models import user
from bench.models.initialise import Inputs, random_images
from bench.records import Case, Source

SEED = 0


def inputs_of(case: Case, source: Source | None) -> Inputs:
    """Return a function (number of images, resolution) -> the inputs of a call.

    A shape that the case names, C x H x W, is that of the images, whatever the resolution.
    Otherwise the function `example_inputs` beside the user's factory makes the inputs. Without it,
    they are random images (N, 3, resolution, resolution). The factory must have run before.
    """

    def make(count: int, resolution: int) -> Sequence[Tensor]:
        if case.input:
            return [torch.randn(count, *map(int, case.input.split("x")))]
        own = user.example_inputs(source, count, resolution) if source else None
        return own or random_images(count, resolution)

    return make


def seeded(inputs: Inputs, case: Case, least: int) -> list[Tensor]:
    """Return the inputs of a case, at least `least` images, the same ones in each process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return list(inputs(max(case.batch, least), case.resolution))


def first(inputs: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return the inputs of the first images."""
    return [each[:count] for each in inputs]

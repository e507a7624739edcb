"""How much a network magnifies a small change of its input."""

import torch

from bench.harness.worker.check import _largest_error

CHANGE = 1e-6  # relative change of the input


def gain(exact, images):
    """Return relative change of the output / relative change of the input, 1 where linear.

    `exact` is a network in float64 and `images` are at least two; a change of the output is
    relative to the largest difference between the outputs of two images.
    """
    images = images.double()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1)).double()
    changed = exact(images * (1 + CHANGE * noise))
    return _largest_error([changed], [exact(images)])[1] / CHANGE

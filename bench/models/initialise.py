"""Weights and statistics of a new network that make every part of it matter to the output."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SEEN_RESOLUTION = 160  # at 64 statistics are far from those at 224, and the error grows by layers
SMALL_SCALE = 1e-3  # a parameter of one dimension below it is a LayerScale as it is made


def initialise(model: nn.Module, resolution: int, *, ours: bool) -> None:
    """Make the output of a new network depend on every part of it, as in a trained one.

    In a new network the scales of residual branches are zero or close to it, and the statistics of
    BatchNorm fit no input. Whole layers could then be wrong without a change of the output. So
    scales are drawn, and BatchNorms take the statistics of random images, varied a little. In a
    user's network only untrained BatchNorms change, since the rest may be trained.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_fresh(m)]
    with torch.no_grad():
        for parameter in model.parameters() if ours else ():
            if parameter.dim() == 1 and 0 < float(parameter.abs().max()) < SMALL_SCALE:
                parameter.uniform_(0.1, 0.3)
        for norm in norms:
            if norm.affine:
                drawn = torch.empty_like(norm.weight).uniform_(0.75, 1.25)
                norm.weight.copy_(torch.where(norm.weight == 0, 0.2 * drawn, norm.weight * drawn))
                norm.bias.add_(torch.empty_like(norm.bias).normal_(0, 0.1))
        hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
        try:
            if norms:
                _see_images(model.eval(), resolution)
        finally:
            for hook in hooks:
                hook.remove()


def _see_images(model: nn.Module, resolution: int) -> None:
    """Run on two random images: small ones, or of `resolution` where the network needs that."""
    for images, size in ((2, min(resolution, SEEN_RESOLUTION)), (2, resolution)):
        with contextlib.suppress(RuntimeError, AssertionError, ValueError):
            model(torch.randn(images, 3, size, size))
            return
    model(torch.randn(1, 3, resolution, resolution))


def _take_statistics(norm: Any, arguments: tuple[Tensor]) -> None:
    """Before a BatchNorm runs, give it the statistics of its input (N, C, ...), varied a little."""
    channels = arguments[0].transpose(0, 1).flatten(1)
    variance = channels.var(1, correction=0)
    floor = 0.1 * variance.mean() + norm.eps  # with so few images a channel may hardly vary
    variance = torch.maximum(variance, floor)
    shift = 0.1 * variance.sqrt() * torch.randn_like(variance)
    norm.running_mean.copy_(channels.mean(1) + shift)
    norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.75, 1.25))


def _is_fresh(norm: _BatchNorm) -> bool:
    """Whether the statistics of a BatchNorm are as they were when it was made."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all() and (variance == 1).all())

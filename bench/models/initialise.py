"""Set weights and statistics of a new network so that every part of it affects the output."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.models.copies import in_eval_mode, with_own_state

# Pixels of the random images. At 64 the statistics differ much from the statistics at 224 pixels,
# and the difference grows with each layer.
STATISTICS_RESOLUTION = 160
# A parameter with one dimension and all values below it is a LayerScale with its initial value.
SMALL_SCALE = 1e-3


def initialise(model: nn.Module, resolution: int, *, draw_scales: bool) -> None:
    """Make the output of a new network depend on every part of it, as in a trained network.

    In a new network, the scales of residual branches are zero or almost zero, and the running
    statistics of a BatchNorm match no input. A layer could then be wrong without a visible effect
    on the output. So this function draws the scales and sets the statistics of each new BatchNorm
    to the statistics of random images, with random deviations.

    Without `draw_scales`, only new BatchNorms change: a user's network may have trained weights.
    A network on the meta device does not change. `resolution` is the side of an image in pixels.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_fresh(m)]
    with torch.no_grad():
        for parameter in model.parameters() if draw_scales else ():
            if parameter.dim() == 1 and 0 < float(parameter.abs().max()) < SMALL_SCALE:
                parameter.uniform_(0.1, 0.3)
        for norm in norms:
            if norm.affine:
                drawn = torch.empty_like(norm.weight).uniform_(0.75, 1.25)
                norm.weight.copy_(torch.where(norm.weight == 0, 0.2 * drawn, norm.weight * drawn))
                norm.bias.add_(torch.empty_like(norm.bias).normal_(0, 0.1))
        if norms:
            _run_random_images(in_eval_mode(model), norms, resolution)


def _run_random_images(model: nn.Module, norms: list[_BatchNorm], resolution: int) -> None:
    """Run on two small random images; if that fails, on larger ones, then on a single one.

    Some networks accept images of `resolution` only, or one image only. A network that accepts
    none of them fails at its first call.
    """
    small = min(resolution, STATISTICS_RESOLUTION)
    for images, size in ((2, small), (2, resolution), (1, resolution)):
        with contextlib.suppress(Exception):  # a network may raise anything
            _run_copy(model, norms, torch.randn(images, 3, size, size))
            break


def _run_copy(model: nn.Module, norms: list[_BatchNorm], images: Tensor) -> None:
    """Run a copy of `model`, whose hooks take the statistics, and give the statistics to `norms`.

    A network may keep a grid of the size of its first input, which is not the size of a case.
    """
    probe = with_own_state(model)
    twin = dict(zip(model.modules(), probe.modules(), strict=True))
    twins = [twin[norm] for norm in norms]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in twins]
    try:
        probe(images)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, measured in zip(norms, twins, strict=True):
        for name in ("running_mean", "running_var"):
            getattr(norm, name).copy_(getattr(measured, name))


def _take_statistics(norm: Any, arguments: tuple[Tensor]) -> None:
    """Set the running statistics to the statistics of the input (N, C, ...), plus deviations.

    A hook that torch calls before the BatchNorm runs. Per channel:
    running_mean = mean + 0.1 * sqrt(var) * normal(0, 1),
    running_var = var * uniform(0.75, 1.25).
    """
    channels = arguments[0].transpose(0, 1).flatten(1)
    variance = channels.var(1, correction=0)
    floor = 0.1 * variance.mean() + norm.eps  # two images may give a channel almost no variance
    variance = torch.maximum(variance, floor)
    shift = 0.1 * variance.sqrt() * torch.randn_like(variance)
    norm.running_mean.copy_(channels.mean(1) + shift)
    norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.75, 1.25))


def _is_fresh(norm: _BatchNorm) -> bool:
    """Whether the running statistics still have their initial values: mean 0 and variance 1."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all() and (variance == 1).all())

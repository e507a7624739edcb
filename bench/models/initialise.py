"""Set weights and statistics of a new network so that every part of it affects the output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.models.copies import in_eval_mode, with_own_state

Inputs = Callable[[int, int], Sequence[Tensor]]

# A parameter with one value per channel, all below this limit, is a new LayerScale.
SMALL_SCALE = 1e-3


def initialise(model: nn.Module, resolution: int, inputs: Inputs, *, draw_scales: bool) -> None:
    """Make the output of a new network depend on every part of it, as in a trained network.

    In a new network, the scales of residual branches are zero or almost zero, and the running
    statistics of a BatchNorm match no input. A layer could then be wrong without a visible effect
    on the output. So this function draws the scales and sets the statistics of each new BatchNorm
    to the statistics of random images, with random deviations. The biases of convolutions that are
    zero are drawn too: a fold that drops them would otherwise be right. So are weights and biases
    of LayerNorms: of two new ones in a row, as in Swin, the second one changes nothing.

    The images have the size of the case, because at another size the statistics differ. The
    difference grows with each layer, attention then picks single positions, and the network becomes
    so sensitive that rounding in float32 changes its output by up to a fifth.

    Without `draw_scales`, only new BatchNorms change: a user's network may have trained weights.
    A network on the meta device does not change. `resolution` is the side of an image in pixels;
    `inputs` maps a number of images and a resolution to the inputs of a call.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_fresh(m)]
    with torch.no_grad():
        if draw_scales:
            _draw_scales(model)
        for norm in norms:
            if norm.affine:
                _draw_affine(norm)
        if norms:
            _run_random_images(in_eval_mode(model), norms, resolution, inputs)


def random_images(count: int, resolution: int) -> list[Tensor]:
    """Return random images (count, 3, resolution, resolution)."""
    return [torch.randn(count, 3, resolution, resolution)]


def _draw_scales(model: nn.Module) -> None:
    """Draw new LayerScales, of shape (C,) or (C, 1, 1), zero biases of convolutions, LayerNorms."""
    for parameter in model.parameters():
        per_channel = parameter.dim() > 0 and parameter.numel() == max(parameter.shape)
        if per_channel and 0 < float(parameter.abs().max()) < SMALL_SCALE:
            parameter.uniform_(0.1, 0.3)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None and not module.bias.any():
            module.bias.normal_(0, 0.1)
        if isinstance(module, nn.LayerNorm) and module.bias is not None:
            _draw_affine(module)


def _draw_affine(norm: Any) -> None:
    """Multiply the weight by uniform(0.75, 1.25), 0 becoming 0.2 of it; add normal(0, 0.1)."""
    drawn = torch.empty_like(norm.weight).uniform_(0.75, 1.25)
    norm.weight.copy_(torch.where(norm.weight == 0, 0.2 * drawn, norm.weight * drawn))
    norm.bias.add_(torch.empty_like(norm.bias).normal_(0, 0.1))


def _run_random_images(
    model: nn.Module, norms: list[_BatchNorm], resolution: int, inputs: Inputs
) -> None:
    """Run on two random images; if that fails, on one: some networks accept one image only.

    A network that accepts neither fails at its first call.
    """
    for images in (2, 1):
        with contextlib.suppress(Exception):  # a network may raise anything
            _run_copy(model, norms, inputs(images, resolution))
            break


def _run_copy(model: nn.Module, norms: list[_BatchNorm], example: Sequence[Tensor]) -> None:
    """Run a copy of `model`, whose hooks take the statistics, and give the statistics to `norms`.

    A network may keep a grid of the size of its first input, which is not the size of a case.
    """
    probe = with_own_state(model)
    twin = dict(zip(model.modules(), probe.modules(), strict=True))
    twins = [twin[norm] for norm in norms]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in twins]
    try:
        probe(*example)
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

    No channel has less than the mean variance of all channels. Where the positions of an image are
    alike, as after attention, the variance is that of two images. It is then far too small in many
    channels, and other images would leave the range that the next layers expect.
    """
    channels = arguments[0].transpose(0, 1).flatten(1)
    variance = channels.var(1, correction=0)
    variance = torch.maximum(variance, variance.mean() + norm.eps)
    shift = 0.1 * variance.sqrt() * torch.randn_like(variance)
    norm.running_mean.copy_(channels.mean(1) + shift)
    norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.75, 1.25))


def _is_fresh(norm: _BatchNorm) -> bool:
    """Whether the running statistics still have their initial values: mean 0 and variance 1."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all() and (variance == 1).all())

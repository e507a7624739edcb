"""Kernel algebra of re-parameterisation: free functions from tensors to tensors.

Nothing here knows a network. Every function computes in float64, whatever it is given, and
returns float64: whoever assembles a convolution casts once, at the end. `Affine` is what a
BatchNorm does in eval mode: y = scale * x + shift, per channel. "Paradigm n" is the numbering
of Section 2.2 of the paper; instructions 1-3 and Eqs. 5-8 are those of Section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Kernel(NamedTuple):
    """A convolution or linear layer as numbers: `weight` (O, I/groups, ...) and `bias` (O,)."""

    weight: Tensor
    bias: Tensor


class Affine(NamedTuple):
    """A per-channel map y = scale * x + shift, both of shape (C,)."""

    scale: Tensor
    shift: Tensor


def kernel_of(layer: nn.Conv2d | nn.Linear) -> Kernel:
    """The weight and bias of `layer` in float64; a missing bias is zeros."""
    weight = layer.weight.detach().double()
    if layer.bias is None:
        return Kernel(weight, weight.new_zeros(weight.shape[0]))
    return Kernel(weight, layer.bias.detach().double())


def affine_of(norm: _BatchNorm) -> Affine:
    """What `norm` does in eval mode: scale = gamma / sqrt(var + eps), shift = beta - mean * scale.

    Raises ValueError for a BatchNorm without running statistics, which has no fixed map.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    scale = (norm.running_var.detach().double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.detach().double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return Affine(scale, shift)


def conv_then_affine(kernel: Kernel, affine: Affine) -> Kernel:
    """Fold the map *after* a layer into it (paradigm 1)."""
    scale = affine.scale.reshape(-1, *[1] * (kernel.weight.dim() - 1))
    return Kernel(kernel.weight * scale, kernel.bias * affine.scale + affine.shift)


def affine_then_conv(affine: Affine, kernel: Kernel) -> Kernel:
    """Fold the map *before* an ungrouped layer into it (paradigms 6 and 5).

    Exact only where the layer pads nothing: zero padding would not pass through the map.
    """
    scale = affine.scale.reshape(1, -1, *[1] * (kernel.weight.dim() - 2))
    taps = kernel.weight.flatten(2).sum(2) if kernel.weight.dim() > 2 else kernel.weight
    return Kernel(kernel.weight * scale, kernel.bias + taps @ affine.shift)


def pad_to(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Zero-pad an odd-sized kernel (O, I, h, w) to `size` about its centre (paradigm 4)."""
    rows, columns = size[0] - weight.shape[2], size[1] - weight.shape[3]
    if rows < 0 or columns < 0 or rows % 2 or columns % 2:
        raise ValueError(f"a {tuple(weight.shape[2:])} kernel cannot be centred in {size}")
    margins = (columns // 2, columns // 2, rows // 2, rows // 2)
    return nn.functional.pad(weight, margins)


def add_parallel(kernels: list[Kernel], size: tuple[int, int]) -> Kernel:
    """Parallel branches that are added become one kernel (paradigms 2 and 4; Eq. 4)."""
    weights = [pad_to(kernel.weight, size) for kernel in kernels]
    return Kernel(torch.stack(weights).sum(0), torch.stack([k.bias for k in kernels]).sum(0))


def concat_parallel(kernels: list[Kernel], size: tuple[int, int]) -> Kernel:
    """Parallel branches that are concatenated become one kernel (paradigms 3 and 4; Eq. 2)."""
    weights = [pad_to(kernel.weight, size) for kernel in kernels]
    return Kernel(torch.cat(weights), torch.cat([kernel.bias for kernel in kernels]))


def dirac(
    channels: int,
    size: tuple[int, int],
    *,
    depthwise: bool = False,
    device: torch.device | None = None,
) -> Kernel:
    """The kernel that passes its input through (Eq. 5).

    Shape (channels, channels, *size), or (channels, 1, *size) where `depthwise`.
    """
    weight = torch.zeros(
        channels, 1 if depthwise else channels, *size, dtype=torch.float64, device=device
    )
    out = torch.arange(channels, device=device)
    weight[out, 0 if depthwise else out, size[0] // 2, size[1] // 2] = 1.0
    return Kernel(weight, weight.new_zeros(channels))


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Take rows in turn: first[0], second[0], first[1], second[1], ..."""
    return torch.stack((first, second), 1).flatten(0, 1)


def widen_depthwise(kernel: Kernel) -> Kernel:
    """dw (C, 1, h, w) to gw^rep (2C, 1, h, w): a Dirac kernel after each (instruction 1; Eq. 6).

    In a convolution with C groups, output 2i is the old output i and output 2i + 1 is input i.
    """
    channels, _, height, width = kernel.weight.shape
    identity = dirac(channels, (height, width), depthwise=True, device=kernel.weight.device)
    return Kernel(
        interleave(kernel.weight, identity.weight), interleave(kernel.bias, identity.bias)
    )


def widen_first_pointwise(kernel: Kernel) -> Kernel:
    """pw1 (E, C, 1, 1) to pw1^rep (E + C, 2C, 1, 1) (instruction 2; Eq. 7).

    Reads the interleaved output of `widen_depthwise`: even inputs feed the old kernel, odd
    inputs pass through to the last C outputs, ready for the activation of the shortcut.
    """
    expanded, channels, _, _ = kernel.weight.shape
    weight = kernel.weight.new_zeros(expanded + channels, 2 * channels, 1, 1)
    weight[:expanded, 0::2] = kernel.weight
    weight[expanded:, 1::2] = dirac(channels, (1, 1), device=weight.device).weight
    return Kernel(weight, torch.cat([kernel.bias, kernel.bias.new_zeros(channels)]))


def widen_last_pointwise(kernel: Kernel) -> Kernel:
    """pw2 (C, E, 1, 1) to pw2^rep (C, E + C, 1, 1): the addition becomes a product (Eq. 8)."""
    identity = dirac(kernel.weight.shape[0], (1, 1), device=kernel.weight.device)
    return Kernel(torch.cat([kernel.weight, identity.weight], 1), kernel.bias)


def conv2d(kernel: Kernel, like: nn.Conv2d, groups: int | None = None) -> nn.Conv2d:
    """A convolution with `kernel`, padded to keep its taps centred where `like`'s are.

    Stride, dtype, device and mode are `like`'s, and so are the groups unless given; it always
    has a bias. Raises ValueError where `like` is dilated or does not pad with zeros.
    """
    groups = like.groups if groups is None else groups
    outputs, inputs, *size = kernel.weight.shape
    grown = [(new - old) // 2 for new, old in zip(size, like.kernel_size, strict=True)]
    padding = like.padding
    if isinstance(padding, str) or like.padding_mode != "zeros" or set(like.dilation) != {1}:
        raise ValueError(f"dilated, or not padded with so many zeros a side: {like}")
    conv: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d,
        inputs * groups,
        outputs,
        tuple(size),
        stride=like.stride,
        padding=tuple(pad + more for pad, more in zip(padding, grown, strict=True)),
        groups=groups,
        dtype=like.weight.dtype,
        device=like.weight.device,
    )
    _fill(conv, kernel)
    return conv.train(like.training)


def linear(kernel: Kernel, like: nn.Conv2d | nn.Linear) -> nn.Linear:
    """A fully connected layer with `kernel`: (O, I), or (O, I, 1, 1) of a 1x1 convolution."""
    weight = kernel.weight.flatten(1)
    layer: nn.Linear = nn.utils.skip_init(
        nn.Linear,
        weight.shape[1],
        weight.shape[0],
        dtype=like.weight.dtype,
        device=like.weight.device,
    )
    _fill(layer, Kernel(weight, kernel.bias))
    return layer.train(like.training)


def _fill(layer: nn.Conv2d | nn.Linear, kernel: Kernel) -> None:
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(kernel.weight)
        layer.bias.copy_(kernel.bias)

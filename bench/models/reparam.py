"""Kernel algebra of re-parameterisation: functions from tensors to tensors.

The functions compute in float64 and return float64; `conv2d` and `linear` cast to the type of
the original layer once, at the end. No function changes its arguments.

- Fold of a BatchNorm, with scale = gamma / sqrt(var + eps) for each channel:
  W' = W * scale and b' = beta + (b - mean) * scale.
- Merge of parallel branches whose outputs are added: W' = sum of pad(W_i), b' = sum of b_i.
- Shortcut re-parameterisation: pw2(a(pw1(dw(x)))) + a(x) = pw2_rep(a(pw1_rep(gw_rep(x)))),
  where a is the activation.

Paradigms 1-6 are numbered in Section 2.2 of the paper, Eqs. 1-4 are in Section 3.1, and Eqs. 5-8
and instructions 1-3 are in Section 3.2. The paper writes gamma / sigma for `scale`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Kernel(NamedTuple):
    """Parameters of a convolution or linear layer: `weight` (O, I/groups, ...), `bias` (O,)."""

    weight: Tensor
    bias: Tensor


class Affine(NamedTuple):
    """A per-channel map y = scale * x + shift, both of shape (C,)."""

    scale: Tensor
    shift: Tensor


def kernel_of(layer: nn.Conv2d | nn.Linear) -> Kernel:
    """Return the weight and bias of `layer` in float64; a missing bias becomes zeros."""
    weight = layer.weight.detach().double()
    if layer.bias is None:
        return Kernel(weight, weight.new_zeros(weight.shape[0]))
    return Kernel(weight, layer.bias.detach().double())


def affine_of(norm: _BatchNorm) -> Affine:
    """Return the map that `norm` applies in eval mode, per channel, in float64.

    scale = gamma / sqrt(var + eps) and shift = beta - mean * scale.

    Raises ValueError if `norm` has no running statistics: its map then depends on the batch.
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
    """Fold the map that follows a layer into the layer (paradigm 1; Eqs. 2 and 4).

    scale * (W * x + b) + shift = W' * x + b', with W'[o] = W[o] * scale[o] and
    b'[o] = b[o] * scale[o] + shift[o].
    For a BatchNorm, b' = beta + (b - mean) * gamma / sqrt(var + eps).
    """
    scale = affine.scale.reshape(-1, *[1] * (kernel.weight.dim() - 1))
    return Kernel(kernel.weight * scale, kernel.bias * affine.scale + affine.shift)


def affine_then_conv(affine: Affine, kernel: Kernel) -> Kernel:
    """Fold the map before an ungrouped layer into the layer (paradigms 6 and 5).

    W * (scale * x + shift) + b = W' * x + b', with W'[o, i] = W[o, i] * scale[i] and
    b'[o] = b[o] + sum over i, h, w of W[o, i, h, w] * shift[i].

    Exact only if the layer has no padding: padded zeros do not pass through the map.
    """
    scale = affine.scale.reshape(1, -1, *[1] * (kernel.weight.dim() - 2))
    taps = kernel.weight.flatten(2).sum(2) if kernel.weight.dim() > 2 else kernel.weight
    return Kernel(kernel.weight * scale, kernel.bias + taps @ affine.shift)


def pad_to(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Zero-pad a kernel (O, I, h, w) to `size`, with the same margin on both sides (paradigm 4).

    Raises ValueError if the kernel is larger than `size`, or the margins would differ.
    """
    rows, columns = size[0] - weight.shape[2], size[1] - weight.shape[3]
    if rows < 0 or columns < 0 or rows % 2 or columns % 2:
        raise ValueError(f"a {tuple(weight.shape[2:])} kernel cannot be centred in {size}")
    margins = (columns // 2, columns // 2, rows // 2, rows // 2)
    return nn.functional.pad(weight, margins)


def add_parallel(kernels: list[Kernel], size: tuple[int, int]) -> Kernel:
    """Merge parallel branches whose outputs are added (paradigms 2 and 4; Eq. 4).

    sum of (W_i * x + b_i) = W' * x + b', with W' = sum of pad(W_i) and b' = sum of b_i.
    `pad` centres each W_i in a kernel of `size`.
    """
    weights = [pad_to(kernel.weight, size) for kernel in kernels]
    return Kernel(torch.stack(weights).sum(0), torch.stack([k.bias for k in kernels]).sum(0))


def concat_parallel(kernels: list[Kernel], size: tuple[int, int]) -> Kernel:
    """Merge parallel branches whose outputs are concatenated (paradigms 3 and 4; Eq. 2).

    W' = cat(pad(W_1), pad(W_2), ...) and b' = cat(b_1, b_2, ...), along the output channels.
    `pad` centres each W_i in a kernel of `size`.
    """
    weights = [pad_to(kernel.weight, size) for kernel in kernels]
    return Kernel(torch.cat(weights), torch.cat([kernel.bias for kernel in kernels]))


def dirac(
    channels: int,
    size: tuple[int, int],
    *,
    depthwise: bool = False,
    device: torch.device | None = None,
) -> Kernel:
    """Return the Dirac kernel E, whose output equals its input: E * x = x (Eq. 5).

    E[o, i, h, w] = 1 if o = i and (h, w) is the centre (H // 2, W // 2), otherwise 0. The shape
    is (channels, channels, *size). With `depthwise` it is (channels, 1, *size), and every
    E[o, 0] has its 1 at the centre.
    """
    weight = torch.zeros(
        channels, 1 if depthwise else channels, *size, dtype=torch.float64, device=device
    )
    out = torch.arange(channels, device=device)
    weight[out, 0 if depthwise else out, size[0] // 2, size[1] // 2] = 1.0
    return Kernel(weight, weight.new_zeros(channels))


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Interleave two tensors along dimension 0: first[0], second[0], first[1], second[1], ..."""
    return torch.stack((first, second), 1).flatten(0, 1)


def widen_depthwise(kernel: Kernel) -> Kernel:
    """Widen the depthwise kernel dw (C, 1, h, w) to gw_rep (2C, 1, h, w) (instruction 1; Eq. 6).

    gw_rep[2i] = dw[i] and gw_rep[2i + 1] = E[i], with biases b(dw)[i] and 0. So in a convolution
    with C groups, output 2i is dw(x)[i] and output 2i + 1 is x[i].
    """
    channels, _, height, width = kernel.weight.shape
    identity = dirac(channels, (height, width), depthwise=True, device=kernel.weight.device)
    return Kernel(
        interleave(kernel.weight, identity.weight), interleave(kernel.bias, identity.bias)
    )


def widen_first_pointwise(kernel: Kernel) -> Kernel:
    """Widen pw1 (H, C, 1, 1) to pw1_rep (H + C, 2C, 1, 1) (instruction 2; Eq. 7).

    The input is the interleaved output of `widen_depthwise`, so columns alternate:
    pw1_rep[:, 2i] = [pw1[:, i], 0] and pw1_rep[:, 2i + 1] = [0, E[:, i]].
    The output is [pw1(dw(x)), x], with bias [b(pw1), 0]. The activation a then gives
    [a(pw1(dw(x))), a(x)]. In RepNeXt, H = 4C.
    """
    expanded, channels, _, _ = kernel.weight.shape
    weight = kernel.weight.new_zeros(expanded + channels, 2 * channels, 1, 1)
    weight[:expanded, 0::2] = kernel.weight
    weight[expanded:, 1::2] = dirac(channels, (1, 1), device=weight.device).weight
    return Kernel(weight, torch.cat([kernel.bias, kernel.bias.new_zeros(channels)]))


def widen_last_pointwise(kernel: Kernel) -> Kernel:
    """Widen pw2 (C, H, 1, 1) to pw2_rep (C, H + C, 1, 1), which adds the shortcut (Eq. 8).

    pw2_rep = [pw2, E] along the input channels, and the bias stays b(pw2). So
    pw2_rep([h, a(x)]) = pw2(h) + a(x).
    """
    identity = dirac(kernel.weight.shape[0], (1, 1), device=kernel.weight.device)
    return Kernel(torch.cat([kernel.weight, identity.weight], 1), kernel.bias)


def conv2d(kernel: Kernel, like: nn.Conv2d, groups: int | None = None) -> nn.Conv2d:
    """Return a convolution with the parameters `kernel`, centred like the convolution `like`.

    The padding grows by half of the growth of the kernel, so the output has the size of `like`'s
    output. Stride, dtype, device and training mode are copied from `like`; so is the number of
    groups unless `groups` is given. The result always has a bias.

    Raises ValueError if `like` is dilated, or its padding is not a number of zeros on each side.
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
    """Return a linear layer with the parameters `kernel`.

    The weight is (O, I), or (O, I, 1, 1) from a 1x1 convolution. Dtype, device and training mode
    are copied from `like`.
    """
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

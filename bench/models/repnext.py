"""RepNeXt, top to bottom in the order of the paper (Sections 3.1-3.3, Table 1).

A module with branches or a BatchNorm has a method `fuse()`. It returns a plain layer that computes
the same function in eval mode, and does not change the module. `bench.models.fuse` calls it on
every such module. A form is a separate network and not a flag of a constructor.

- Fold of a BatchNorm: W' = W * gamma / sqrt(var + eps),
  b' = beta + (b - mean) * gamma / sqrt(var + eps).
- Merge of branches: kernels are zero-padded to 7x7, then concatenated (RepUnit1, Eq. 2) or
  added (RepUnit2 and RepUnit3, Eq. 4).
- Shortcut re-parameterisation:
  pw2(a(pw1(dw(x)))) + a(x) = pw2_rep(a(pw1_rep(gw_rep(x)))) (Section 3.2, Eqs. 6-8).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.models import reparam
from bench.models.reparam import affine_of, conv_then_affine, kernel_of

LARGE = (7, 7)


def depthwise(channels: int, size: tuple[int, int]) -> nn.Conv2d:
    """Return a depthwise convolution that keeps height and width, for odd sizes.

    It has no bias, because the BatchNorm that follows has a shift.
    """
    padding = (size[0] // 2, size[1] // 2)
    return nn.Conv2d(channels, channels, size, padding=padding, groups=channels, bias=False)


class ConvBN(nn.Sequential):
    """A convolution, then a BatchNorm: one branch of a unit, or the stem.

    y = (W * x + b - mean) * gamma / sqrt(var + eps) + beta.
    """

    conv: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)

    def kernel(self) -> reparam.Kernel:
        """Return the parameters of the equivalent convolution, in float64 (paradigm 1).

        W' = W * gamma / sqrt(var + eps), b' = beta + (b - mean) * gamma / sqrt(var + eps).
        """
        return conv_then_affine(kernel_of(self.conv), affine_of(self.bn))

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent convolution, with a bias."""
        return reparam.conv2d(self.kernel(), self.conv)


class RepUnit1(nn.Module):
    """Depthwise 3x3, 5x5 and 7x7, each on a third of the channels, concatenated; then one BN.

    Eq. 1: y = (cat(F_1 * x_1, F_2 * x_2, F_3 * x_3) - mean) * gamma / sqrt(var + eps) + beta.
    If the width is not a multiple of three, the 7x7 branch takes the remaining channels too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        third = channels // 3
        self.widths = (third, third, channels - 2 * third)
        self.conv3 = depthwise(third, (3, 3))
        self.conv5 = depthwise(third, (5, 5))
        self.conv7 = depthwise(channels - 2 * third, LARGE)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        small, medium, large = x.split(self.widths, 1)
        parts = (self.conv3(small), self.conv5(medium), self.conv7(large))
        return self.bn(torch.cat(parts, 1))

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent 7x7 depthwise convolution (Eq. 2), with b' = beta - mean * scale.

        W' = scale * cat(pad(F_1), pad(F_2), F_3), where scale = gamma / sqrt(var + eps).
        """
        kernels = [kernel_of(conv) for conv in (self.conv3, self.conv5, self.conv7)]
        fused = conv_then_affine(reparam.concat_parallel(kernels, LARGE), affine_of(self.bn))
        return reparam.conv2d(fused, self.conv7, groups=sum(self.widths))


class ParallelUnit(nn.Module):
    """Three depthwise branches on all channels, each with its own BN; the outputs are added.

    Eq. 3: y = sum over i of (F_i * x - mean_i) * gamma_i / sqrt(var_i + eps) + beta_i.
    """

    sizes: tuple[tuple[int, int], ...]

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, medium, large = (ConvBN(depthwise(channels, size)) for size in self.sizes)
        self.small = small
        self.medium = medium
        self.large = large

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return self.small(x) + self.medium(x) + self.large(x)

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent 7x7 depthwise convolution (Eq. 4).

        With scale_i = gamma_i / sqrt(var_i + eps):
        W' = sum of pad(scale_i * F_i) and b' = sum of (beta_i - mean_i * scale_i).
        """
        kernels = [branch.kernel() for branch in (self.small, self.medium, self.large)]
        return reparam.conv2d(reparam.add_parallel(kernels, LARGE), self.large.conv)


class RepUnit2(ParallelUnit):
    """Depthwise 3x3, 5x5 and 7x7 in parallel."""

    sizes = ((3, 3), (5, 5), LARGE)


class RepUnit3(ParallelUnit):
    """RepUnit2 with 3x1 in place of 3x3 and 1x5 in place of 5x5."""

    sizes = ((3, 1), (1, 5), LARGE)


def plain_unit(channels: int) -> ConvBN:
    """Return a 7x7 depthwise convolution and a BN: the unit of Shortcut-act in Table 5."""
    return ConvBN(depthwise(channels, LARGE))


UNITS: dict[str, Callable[[int], nn.Module]] = {
    "u1": RepUnit1,
    "u2": RepUnit2,
    "u3": RepUnit3,
    "plain": plain_unit,
}


class RepNeXtBlock(nn.Module):
    """A block: y = pw2(gelu(pw1(unit(x)))) + gelu(x) (Fig. 3a).

    pw1 is a 1x1 convolution from C to 4C channels, and pw2 a 1x1 convolution from 4C to C. The
    forms `train` and `rrep` use this class; in `rrep` the unit is one convolution.
    """

    def __init__(self, unit: nn.Module, pw1: nn.Conv2d, pw2: nn.Conv2d) -> None:
        super().__init__()
        self.unit = unit
        self.pw1 = pw1
        self.act = nn.GELU()
        self.pw2 = pw2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W): the output O of Eq. 8."""
        return self.pw2(self.act(self.pw1(self.unit(x)))) + self.act(x)

    def with_linear(self) -> LinearBlock:
        """Return the same function with a linear layer in place of each 1x1 convolution."""
        block = LinearBlock(
            copy.deepcopy(self.unit),
            reparam.linear(kernel_of(self.pw1), self.pw1),
            reparam.linear(kernel_of(self.pw2), self.pw2),
        )
        return block.train(self.training)

    def without_shortcut(self) -> nn.Sequential:
        """Return the same function without the shortcut and its addition (Fig. 4).

        The unit must be one convolution, the 7x7 depthwise `dw` that `fuse()` makes.

            gw_rep(x) = [dw(x), x], interleaved by channel      (Eq. 6)
            pw1_rep([dw(x), x]) = [pw1(dw(x)), x]               (Eq. 7, before the activation)
            pw2_rep([h, gelu(x)]) = pw2(h) + gelu(x)            (Eq. 8)

        Raises TypeError if the unit is not one convolution.
        """
        if not isinstance(self.unit, nn.Conv2d):
            raise TypeError("only a block whose unit is one convolution can lose its shortcut")
        gw = reparam.widen_depthwise(kernel_of(self.unit))
        pw1 = reparam.widen_first_pointwise(kernel_of(self.pw1))
        pw2 = reparam.widen_last_pointwise(kernel_of(self.pw2))
        plain = nn.Sequential()
        plain.add_module("gw", reparam.conv2d(gw, self.unit))
        plain.add_module("pw1", reparam.conv2d(pw1, self.pw1))
        plain.add_module("act", nn.GELU())
        plain.add_module("pw2", reparam.conv2d(pw2, self.pw2))
        return plain.train(self.training)


class LinearBlock(nn.Module):
    """A block of `rrep_fc`: RepNeXtBlock with linear layers, channels last between two permutes."""

    def __init__(self, unit: nn.Module, pw1: nn.Linear, pw2: nn.Linear) -> None:
        super().__init__()
        self.unit = unit
        self.pw1 = pw1
        self.act = nn.GELU()
        self.pw2 = pw2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        y = self.unit(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.pw2(self.act(self.pw1(y)))
        return y.permute(0, 3, 1, 2) + self.act(x)


class Downsample(nn.Sequential):
    """BN, then 2x2 with stride 2: (N, C, H, W) to (N, outputs, H/2, W/2) (Section 3.3)."""

    bn: nn.BatchNorm2d
    conv: nn.Conv2d

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 2, stride=2)

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent 2x2 convolution (paradigms 6 and 5).

        With scale = gamma / sqrt(var + eps) and shift = beta - mean * scale per input channel i:
        W'[o, i] = W[o, i] * scale[i], b'[o] = b[o] + sum over i, h, w of W[o, i, h, w] * shift[i].
        """
        fused = reparam.affine_then_conv(affine_of(self.bn), kernel_of(self.conv))
        return reparam.conv2d(fused, self.conv)


class Classifier(nn.Sequential):
    """BN and a linear layer on pooled features: (N, C) to (N, classes)."""

    bn: nn.BatchNorm1d
    fc: nn.Linear

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)
        self.fc = nn.Linear(channels, num_classes)

    def fuse(self) -> nn.Linear:
        """Return the equivalent linear layer: W' = W * scale, b' = b + W @ shift."""
        fused = reparam.affine_then_conv(affine_of(self.bn), kernel_of(self.fc))
        return reparam.linear(fused, self.fc)


class RepNeXt(nn.Sequential):
    """Stem, four stages with a downsampling layer between each two, pooling, classifier."""


class Size(NamedTuple):
    """Channels C and numbers of blocks B of the four stages (Section 3.3)."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "t": Size((96, 192, 384, 768), (3, 3, 9, 3)),
    "s": Size((96, 192, 384, 768), (3, 3, 27, 3)),
    "b": Size((128, 256, 512, 1024), (3, 3, 27, 3)),
}
EXPANSION = 4


def repnext(unit: str, size: str | Size, num_classes: int = 1000) -> RepNeXt:
    """Return the training-time network for images (N, 3, H, W); 32 must divide H and W.

    `unit` is a key of UNITS, and `size` a key of SIZES or a size of your own. Raises KeyError for
    any other name.
    """
    make_unit = UNITS[unit]
    widths, depths = SIZES[size] if isinstance(size, str) else size
    net = RepNeXt()
    net.add_module("stem", ConvBN(nn.Conv2d(3, widths[0], 4, stride=4, bias=False)))
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            net.add_module(f"downsample{i}", Downsample(widths[i - 1], width))
        blocks = (_block(make_unit, width) for _ in range(depth))
        net.add_module(f"stage{i + 1}", nn.Sequential(*blocks))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("classifier", Classifier(widths[-1], num_classes))
    return net


def _block(make_unit: Callable[[int], nn.Module], width: int) -> RepNeXtBlock:
    hidden = EXPANSION * width
    return RepNeXtBlock(make_unit(width), nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, width, 1))

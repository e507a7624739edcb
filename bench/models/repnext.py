"""RepNeXt, top to bottom in the order of the paper (Sections 3.1-3.3, Table 1).

A module with branches or a BatchNorm that folds owns `fuse()`, which returns a plain module
and leaves its own weights alone; `bench.models.fuse` walks the network with it. A form is a
different network, never a flag: the classes here without `fuse()` are what the fused forms
are made of.
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
    """A depthwise convolution that keeps height and width; no bias, since a BatchNorm follows."""
    padding = (size[0] // 2, size[1] // 2)
    return nn.Conv2d(channels, channels, size, padding=padding, groups=channels, bias=False)


class ConvBN(nn.Sequential):
    """A convolution and the BatchNorm after it (paradigm 1): one branch, or the whole stem."""

    conv: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)

    def kernel(self) -> reparam.Kernel:
        """The kernel that both together amount to."""
        return conv_then_affine(kernel_of(self.conv), affine_of(self.bn))

    def fuse(self) -> nn.Conv2d:
        """One convolution with a bias."""
        return reparam.conv2d(self.kernel(), self.conv)


class RepUnit1(nn.Module):
    """3x3, 5x5 and 7x7, each on a third of the channels; concatenated, then one BN (Eqs. 1, 2).

    Where the width is no multiple of three, the 7x7 takes the remainder.
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
        """One 7x7 depthwise convolution (Eq. 2)."""
        kernels = [kernel_of(conv) for conv in (self.conv3, self.conv5, self.conv7)]
        fused = conv_then_affine(reparam.concat_parallel(kernels, LARGE), affine_of(self.bn))
        return reparam.conv2d(fused, self.conv7, groups=sum(self.widths))


class ParallelUnit(nn.Module):
    """Depthwise branches on all channels, each with its BN, added (Eqs. 3, 4)."""

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
        """One 7x7 depthwise convolution (Eq. 4)."""
        kernels = [branch.kernel() for branch in (self.small, self.medium, self.large)]
        return reparam.conv2d(reparam.add_parallel(kernels, LARGE), self.large.conv)


class RepUnit2(ParallelUnit):
    """3x3, 5x5 and 7x7 in parallel."""

    sizes = ((3, 3), (5, 5), LARGE)


class RepUnit3(ParallelUnit):
    """RepUnit2 with its two smaller kernels compressed to 3x1 and 1x5."""

    sizes = ((3, 1), (1, 5), LARGE)


def plain_unit(channels: int) -> ConvBN:
    """One 7x7 and its BN: the unit of Shortcut-act (Table 5), before there was a RepUnit."""
    return ConvBN(depthwise(channels, LARGE))


UNITS: dict[str, Callable[[int], nn.Module]] = {
    "u1": RepUnit1,
    "u2": RepUnit2,
    "u3": RepUnit3,
    "plain": plain_unit,
}


class RepNeXtBlock(nn.Module):
    """unit, 1x1 to 4C, GELU, 1x1 to C, plus the GELU of the input (Fig. 3a).

    Both `train` and `rrep` are made of it: in `rrep` the unit is one convolution.
    """

    def __init__(self, unit: nn.Module, pw1: nn.Conv2d, pw2: nn.Conv2d) -> None:
        super().__init__()
        self.unit = unit
        self.pw1 = pw1
        self.act = nn.GELU()
        self.pw2 = pw2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W); the right-hand side of Eq. 8."""
        return self.pw2(self.act(self.pw1(self.unit(x)))) + self.act(x)

    def with_linear(self) -> LinearBlock:
        """The same function with each 1x1 convolution as a fully connected layer."""
        block = LinearBlock(
            copy.deepcopy(self.unit),
            reparam.linear(kernel_of(self.pw1), self.pw1),
            reparam.linear(kernel_of(self.pw2), self.pw2),
        )
        return block.train(self.training)

    def without_shortcut(self) -> nn.Sequential:
        """The same function with neither branch nor addition (Fig. 4; Eqs. 6-8)."""
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
    """A block of `rrep_fc`: channels last between two permutes, as in ConvNeXt."""

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
    """BN, then 2x2 with stride 2: halves height and width, changes the channels (Section 3.3)."""

    bn: nn.BatchNorm2d
    conv: nn.Conv2d

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 2, stride=2)

    def fuse(self) -> nn.Conv2d:
        """One convolution: the BN becomes a 1x1, and that goes into the 2x2 (paradigms 6, 5)."""
        fused = reparam.affine_then_conv(affine_of(self.bn), kernel_of(self.conv))
        return reparam.conv2d(fused, self.conv)


class Classifier(nn.Sequential):
    """BN1d and a linear layer on pooled features, (N, C) to (N, classes)."""

    bn: nn.BatchNorm1d
    fc: nn.Linear

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)
        self.fc = nn.Linear(channels, num_classes)

    def fuse(self) -> nn.Linear:
        """One linear layer."""
        fused = reparam.affine_then_conv(affine_of(self.bn), kernel_of(self.fc))
        return reparam.linear(fused, self.fc)


class RepNeXt(nn.Sequential):
    """Stem, four stages with downsampling between them, pooling and classifier (Table 1)."""


class Size(NamedTuple):
    """Widths C and numbers of blocks B per stage."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "t": Size((96, 192, 384, 768), (3, 3, 9, 3)),
    "s": Size((96, 192, 384, 768), (3, 3, 27, 3)),
    "b": Size((128, 256, 512, 1024), (3, 3, 27, 3)),
}
EXPANSION = 4


def repnext(unit: str, size: str, num_classes: int = 1000) -> RepNeXt:
    """The training-time network: `unit` of UNITS, `size` of SIZES; images (N, 3, H, W), 32 | H, W.

    Raises KeyError for a unit or size that is not in its table.
    """
    make_unit, (widths, depths) = UNITS[unit], SIZES[size]
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

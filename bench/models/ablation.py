"""The first steps of the ablation from ConvNeXt to RepNeXt (Table 5); each extends the one before.

1. ConvNeXt-T: timm's network.
2. Lc2pwconv: 1x1 convolutions replace the fully connected layers.
3. Ln2bn: BatchNorm replaces LayerNorm.
4. Shortcut-act: RepNeXt with one plain 7x7 as its unit (`repnext.UNITS["plain"]`).

This module has steps 2 and 3. Both keep the LayerScale of ConvNeXt.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from bench.models.repnext import EXPANSION, SIZES

LAYER_SCALE = 1e-6
EPS = 1e-6  # in ConvNeXt's LayerNorms


class Block(nn.Module):
    """y = scale * pw2(gelu(pw1(norm(dw(x))))) + x, where `scale` is the LayerScale per channel.

    dw is a 7x7 depthwise convolution; pw1 (C to 4C) and pw2 (4C to C) are 1x1 convolutions.
    """

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = norm(channels)
        self.pw1 = nn.Conv2d(channels, EXPANSION * channels, 1)
        self.act = nn.GELU()
        self.pw2 = nn.Conv2d(EXPANSION * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return self.pw2(self.act(self.pw1(self.norm(self.dw(x))))) * self.scale + x


def lc2pwconv(size: str, num_classes: int = 1000) -> nn.Sequential:
    """Return ConvNeXt with 1x1 convolutions in place of its fully connected layers."""

    def norm(channels: int) -> nn.Module:
        return LayerNorm2d(channels, eps=EPS)

    return _convnext(size, num_classes, norm)


def ln2bn(size: str, num_classes: int = 1000) -> nn.Sequential:
    """Return Lc2pwconv with BatchNorm in place of LayerNorm."""
    return _convnext(size, num_classes, nn.BatchNorm2d)


def _convnext(size: str, num_classes: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """Return ConvNeXt for images (N, 3, H, W), where 32 divides H and W.

    `size` is a key of SIZES; `norm` makes a normalisation layer for a number of channels.
    """
    widths, depths = SIZES[size]
    net = nn.Sequential()
    net.add_module("stem", nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), norm(widths[0])))
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            down = nn.Conv2d(widths[i - 1], width, 2, stride=2)
            net.add_module(f"downsample{i}", nn.Sequential(norm(widths[i - 1]), down))
        net.add_module(f"stage{i + 1}", nn.Sequential(*(Block(width, norm) for _ in range(depth))))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("norm", norm(widths[-1]))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc", nn.Linear(widths[-1], num_classes))
    return net

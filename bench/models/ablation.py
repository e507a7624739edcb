"""The first steps from ConvNeXt to RepNeXt (Table 5), each on top of the one before.

ConvNeXt-T itself is timm's. Lc2pwconv: its fully connected layers as 1x1 convolutions. Ln2bn:
its LayerNorms as BatchNorms. Shortcut-act, the next step, is a RepNeXt whose unit is one plain
7x7 (`repnext.UNITS["plain"]`). LayerScale stays in the first two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from bench.models.repnext import EXPANSION, SIZES

LAYER_SCALE = 1e-6
EPS = 1e-6  # of ConvNeXt's LayerNorms


class Block(nn.Module):
    """7x7 depthwise, norm, 1x1 to 4C, GELU, 1x1 to C, LayerScale, plus the input."""

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
    """ConvNeXt with 1x1 convolutions for its fully connected layers."""

    def norm(channels: int) -> nn.Module:
        return LayerNorm2d(channels, eps=EPS)

    return _convnext(size, num_classes, norm)


def ln2bn(size: str, num_classes: int = 1000) -> nn.Sequential:
    """Lc2pwconv with BatchNorm for LayerNorm."""
    return _convnext(size, num_classes, nn.BatchNorm2d)


def _convnext(size: str, num_classes: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """ConvNeXt of that size, its norms made by `norm`; images (N, 3, H, W), 32 | H, W."""
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

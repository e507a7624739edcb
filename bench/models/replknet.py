"""RepLKNet-31B (arXiv 2203.06717, Section 4 and Fig. 4), which timm does not have.

Large depthwise kernels with a parallel 5x5, between 1x1 convolutions; each such block is
followed by a feed-forward block of 1x1 convolutions. As in `repnext`, what can be merged owns
`fuse()` and returns a plain module.
"""

from __future__ import annotations

from torch import Tensor, nn

from bench.models import reparam
from bench.models.reparam import affine_of, affine_then_conv, conv_then_affine, kernel_of
from bench.models.repnext import ConvBN, depthwise

KERNELS = (31, 29, 27, 13)
WIDTHS = (128, 256, 512, 1024)
DEPTHS = (2, 2, 18, 2)
SMALL_KERNEL = 5
EXPANSION = 4


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution; no bias, since a BatchNorm follows."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class NormPointwise(nn.Sequential):
    """BN, 1x1 convolution, BN: how both kinds of block begin."""

    before: nn.BatchNorm2d
    conv: nn.Conv2d
    after: nn.BatchNorm2d

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(inputs)
        self.conv = pointwise(inputs, outputs)
        self.after = nn.BatchNorm2d(outputs)

    def fuse(self) -> nn.Conv2d:
        """One 1x1 convolution."""
        kernel = affine_then_conv(affine_of(self.before), kernel_of(self.conv))
        return reparam.conv2d(conv_then_affine(kernel, affine_of(self.after)), self.conv)


class LargeKernel(nn.Module):
    """A large depthwise kernel and a 5x5, each with its BN, added."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.large = ConvBN(depthwise(channels, (size, size)))
        self.small = ConvBN(depthwise(channels, (SMALL_KERNEL, SMALL_KERNEL)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return self.large(x) + self.small(x)

    def fuse(self) -> nn.Conv2d:
        """One large depthwise convolution."""
        large = self.large.conv
        size = (large.kernel_size[0], large.kernel_size[1])
        both = reparam.add_parallel([self.large.kernel(), self.small.kernel()], size)
        return reparam.conv2d(both, large)


class LargeKernelBlock(nn.Module):
    """1x1, large kernel, 1x1, with ReLUs between them and a shortcut."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.pw1 = NormPointwise(channels, channels)
        self.dw = LargeKernel(channels, size)
        self.pw2 = ConvBN(pointwise(channels, channels))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x + self.pw2(self.act(self.dw(self.act(self.pw1(x)))))


class FeedForwardBlock(nn.Module):
    """1x1 to 4C, GELU, 1x1 to C, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pw1 = NormPointwise(channels, EXPANSION * channels)
        self.act = nn.GELU()
        self.pw2 = ConvBN(pointwise(EXPANSION * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x + self.pw2(self.act(self.pw1(x)))


class Classifier(nn.Module):
    """BN, global average pooling and a linear layer: (N, C, H, W) to (N, classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        return self.fc(self.pool(self.bn(x)).flatten(1))

    def fuse(self) -> nn.Sequential:
        """Pooling and a linear layer: a per-channel map and an average change places freely."""
        fused = affine_then_conv(affine_of(self.bn), kernel_of(self.fc))
        plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        plain.append(reparam.linear(fused, self.fc))
        return plain.train(self.training)


class RepLKNet(nn.Sequential):
    """Stem, four stages with transitions between them, classifier."""


def replknet_31b(num_classes: int = 1000) -> RepLKNet:
    """The training-time network; images (N, 3, H, W)."""
    net = RepLKNet()
    net.add_module("stem", _stem(WIDTHS[0]))
    for i, (width, depth, size) in enumerate(zip(WIDTHS, DEPTHS, KERNELS, strict=True)):
        if i:
            net.add_module(f"transition{i}", _transition(WIDTHS[i - 1], width))
        stage = nn.Sequential()
        for _ in range(depth):
            stage.append(LargeKernelBlock(width, size))
            stage.append(FeedForwardBlock(width))
        net.add_module(f"stage{i + 1}", stage)
    net.add_module("classifier", Classifier(WIDTHS[-1], num_classes))
    return net


def _stem(width: int) -> nn.Sequential:
    """To a quarter of height and width in four convolutions."""
    return nn.Sequential(
        ConvBN(nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)),
        nn.ReLU(),
        ConvBN(depthwise(width, (3, 3))),
        nn.ReLU(),
        ConvBN(pointwise(width, width)),
        nn.ReLU(),
        *_halve(width),
    )


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    """To half of height and width and to other channels."""
    return nn.Sequential(ConvBN(pointwise(inputs, outputs)), nn.ReLU(), *_halve(outputs))


def _halve(width: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False)
    return ConvBN(conv), nn.ReLU()

"""RepLKNet-31B (arXiv 2203.06717, Section 4 and Fig. 4), which timm does not have.

A block has a large depthwise convolution and a parallel 5x5, between two 1x1 convolutions. A
feed-forward block of two 1x1 convolutions follows each of them. As in `bench.models.repnext`, a
module that can be merged has a method `fuse()`, which returns a plain layer:

- Fold of a BatchNorm after a layer: W' = W * scale, b' = beta + (b - mean) * scale,
  with scale = gamma / sqrt(var + eps) (paradigm 1 in Section 2.2 of the RepNeXt paper).
- Fold of a BatchNorm before a layer: W'[o, i] = W[o, i] * scale[i], b' = b + W @ shift,
  with shift = beta - mean * scale (paradigms 6 and 5).
- Merge of the two branches: W' = W_large + pad(W_small), b' = b_large + b_small (Eq. 4).
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
    """Return a 1x1 convolution without bias: the BatchNorm that follows has a shift."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class NormPointwise(nn.Sequential):
    """BN, 1x1 convolution, BN: the first layers of both kinds of block."""

    before: nn.BatchNorm2d
    conv: nn.Conv2d
    after: nn.BatchNorm2d

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(inputs)
        self.conv = pointwise(inputs, outputs)
        self.after = nn.BatchNorm2d(outputs)

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent 1x1 convolution.

        With y = s * x + t for the first BN and y = s' * x + t' for the second:
        W'[o, i] = s'[o] * W[o, i] * s[i] and b' = s' * (b + W @ t) + t'.
        """
        kernel = affine_then_conv(affine_of(self.before), kernel_of(self.conv))
        return reparam.conv2d(conv_then_affine(kernel, affine_of(self.after)), self.conv)


class LargeKernel(nn.Module):
    """A large depthwise convolution and a 5x5, each with its BN; the outputs are added."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.large = ConvBN(depthwise(channels, (size, size)))
        self.small = ConvBN(depthwise(channels, (SMALL_KERNEL, SMALL_KERNEL)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return self.large(x) + self.small(x)

    def fuse(self) -> nn.Conv2d:
        """Return the equivalent large convolution: W' = W_large + pad(W_small), after BN folds."""
        large = self.large.conv
        size = (large.kernel_size[0], large.kernel_size[1])
        both = reparam.add_parallel([self.large.kernel(), self.small.kernel()], size)
        return reparam.conv2d(both, large)

    def merge_kernel(self) -> nn.Conv2d:
        """Return what `fuse` returns.

        The official code has a method of this name in this block alone, so its merged network
        keeps all other BatchNorms (`structural_reparam` in DingXiaoH/RepLKNet-pytorch).
        """
        return self.fuse()


class LargeKernelBlock(nn.Module):
    """y = x + pw2(relu(dw(relu(pw1(x))))), where dw is a LargeKernel."""

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
    """y = x + pw2(gelu(pw1(x))), with 4C channels between pw1 and pw2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pw1 = NormPointwise(channels, EXPANSION * channels)
        self.act = nn.GELU()
        self.pw2 = ConvBN(pointwise(EXPANSION * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x + self.pw2(self.act(self.pw1(x)))


class Classifier(nn.Module):
    """BN, global average pooling and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        return self.fc(self.pool(self.bn(x)).flatten(1))

    def fuse(self) -> nn.Sequential:
        """Return pooling and a linear layer.

        mean(scale * x + shift) = scale * mean(x) + shift for each channel, so the BN can move
        behind the pooling and fold into the linear layer: W' = W * scale, b' = b + W @ shift.
        """
        fused = affine_then_conv(affine_of(self.bn), kernel_of(self.fc))
        plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        plain.append(reparam.linear(fused, self.fc))
        return plain.train(self.training)


class RepLKNet(nn.Sequential):
    """Stem, four stages with a transition between each two, classifier."""


def replknet_31b(num_classes: int = 1000) -> RepLKNet:
    """Return the training-time network for images (N, 3, H, W)."""
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
    """Four convolutions: (N, 3, H, W) to (N, width, H/4, W/4)."""
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
    """Two convolutions: (N, inputs, H, W) to (N, outputs, H/2, W/2)."""
    return nn.Sequential(ConvBN(pointwise(inputs, outputs)), nn.ReLU(), *_halve(outputs))


def _halve(width: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False)
    return ConvBN(conv), nn.ReLU()

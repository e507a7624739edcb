"""Networks of one small size, each of which trains on two CPU cores within five minutes.

    bench train --model reports/trained/nets.py:u3 --data cifar10-small.zip \
        --recipe reports/trained/recipe.toml --out runs/u3-0 --seed 0
"""

from timm.models.convnext import ConvNeXt

from bench.models.repnext import Size, repnext

CLASSES = 10
SIZE = Size(widths=(24, 48, 96, 192), depths=(1, 1, 2, 1))


def u1():
    """RepNeXt with RepUnit1: depthwise 3x3, 5x5 and 7x7, each on a third of the channels."""
    return repnext("u1", SIZE, CLASSES)


def u2():
    """RepNeXt with RepUnit2: depthwise 3x3, 5x5 and 7x7 on all channels, added."""
    return repnext("u2", SIZE, CLASSES)


def u3():
    """RepNeXt with RepUnit3: depthwise 3x1, 1x5 and 7x7 on all channels, added."""
    return repnext("u3", SIZE, CLASSES)


def plain():
    """RepNeXt with one depthwise 7x7: the paper's Shortcut-act."""
    return repnext("plain", SIZE, CLASSES)


def convnext():
    """ConvNeXt of the same widths and depths."""
    return ConvNeXt(num_classes=CLASSES, dims=SIZE.widths, depths=SIZE.depths)

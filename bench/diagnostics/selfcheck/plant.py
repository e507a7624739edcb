"""Networks that `bench selfcheck` measures: known to be equal, or slower by a known share."""

from __future__ import annotations

import time
from typing import Any

import timm
import torch
from torch import Tensor, nn


class Planted(nn.Module):
    """`inner`, and then a spin for `share` of the time that it has just taken."""

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner = inner
        self.share = share

    def forward(self, images: Tensor) -> Any:
        """(N, 3, H, W) to what `inner` makes of it."""
        began = time.perf_counter()
        output = self.inner(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        until = time.perf_counter() + self.share * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return output


def resnet18_0() -> nn.Module:
    """ResNet18 with nothing planted."""
    return Planted(timm.create_model("resnet18"), 0.0)


def resnet18_5() -> nn.Module:
    """ResNet18, 5 % slower."""
    return Planted(timm.create_model("resnet18"), 0.05)


def resnet18_10() -> nn.Module:
    """ResNet18, 10 % slower."""
    return Planted(timm.create_model("resnet18"), 0.10)


def resnet50_0() -> nn.Module:
    """ResNet50 with nothing planted."""
    return Planted(timm.create_model("resnet50"), 0.0)

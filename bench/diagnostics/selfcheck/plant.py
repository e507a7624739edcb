"""Networks that `bench selfcheck` measures: copies that are slower by a known share, or by 0."""

from __future__ import annotations

import time
from typing import Any

import timm
import torch
from torch import Tensor, nn


class Planted(nn.Module):
    """Runs `inner`, then waits: the call takes (1 + `share`) times the time of `inner`."""

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner = inner
        self.share = share

    def forward(self, images: Tensor) -> Any:
        """Map images of shape (N, 3, H, W) to the output of `inner`."""
        began = time.perf_counter()
        output = self.inner(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        until = time.perf_counter() + self.share * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return output


def resnet18_0() -> nn.Module:
    """Return a ResNet18 that is not slowed down."""
    return Planted(timm.create_model("resnet18"), 0.0)


def resnet18_5() -> nn.Module:
    """Return a ResNet18 that is 5 % slower."""
    return Planted(timm.create_model("resnet18"), 0.05)


def resnet18_10() -> nn.Module:
    """Return a ResNet18 that is 10 % slower."""
    return Planted(timm.create_model("resnet18"), 0.10)


def resnet50_0() -> nn.Module:
    """Return a ResNet50 that is not slowed down."""
    return Planted(timm.create_model("resnet50"), 0.0)

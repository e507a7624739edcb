"""PyTorch as it is: every operator dispatched one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def load(model: nn.Module, example: Tensor, precision: str) -> Callable[[Tensor], Tensor]:
    """Return what runs `model` on an input like `example` (N, 3, H, W), already on its device.

    `precision` is `fp32`, the only one there is; weights and example have it already.
    """
    return model

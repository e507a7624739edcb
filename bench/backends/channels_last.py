"""PyTorch eager with weights, input and activations in NHWC memory order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

one_by_one = True


def load(model: nn.Module, example: Tensor, precision: str) -> Callable[[], Tensor]:
    """Convert weights and input to NHWC once; the conversion is not part of the timed call."""
    import torch

    network = model.to(memory_format=torch.channels_last)
    images = example.contiguous(memory_format=torch.channels_last)
    return lambda: network(images)


def missing(torch_device: str) -> str | None:
    """Return None: only torch is needed."""
    return None


def preload() -> None:
    """Do nothing: only torch is needed."""


def name_kernels() -> None:
    """Do nothing: operators have names."""

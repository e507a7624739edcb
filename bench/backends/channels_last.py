"""PyTorch eager with weights, input and activations in NHWC memory order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

one_by_one = True


def load(model: nn.Module, example: Sequence[Tensor], precision: str) -> Callable[[], object]:
    """Convert weights and input to NHWC once; the conversion is not part of the timed call.

    Only tensors of four dimensions have this order.
    """
    import torch

    network = model.to(memory_format=torch.channels_last)
    last = torch.channels_last
    inputs = [each.contiguous(memory_format=last) if each.dim() == 4 else each for each in example]
    return lambda: network(*inputs)


def missing(torch_device: str) -> str | None:
    """Return None: only torch is needed."""
    return None


def preload() -> None:
    """Do nothing: only torch is needed."""


def name_kernels() -> None:
    """Do nothing: operators have names."""

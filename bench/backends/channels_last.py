"""PyTorch eager with weights, input and activations in NHWC memory order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

one_by_one = True
takes_new_images = True
replays_graph = False


def load(model: nn.Module, example: Sequence[Tensor], precision: str) -> Callable[[], object]:
    """Convert weights and example to NHWC in place; the conversion is not part of the timed call.

    Only tensors of four dimensions have this order.
    """
    import torch

    network = model.to(memory_format=torch.channels_last)
    for each in example:
        if each.dim() == 4:
            each.data = each.contiguous(memory_format=torch.channels_last)
    return lambda: network(*example)


def missing(torch_device: str) -> str | None:
    """Return None: only torch is needed."""
    return None


def preload() -> None:
    """Do nothing: only torch is needed."""


def name_kernels() -> None:
    """Do nothing: operators have names."""

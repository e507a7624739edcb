"""PyTorch eager in NHWC memory order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.backends.backend import Backend, Call

if TYPE_CHECKING:
    from torch import Tensor, nn


class ChannelsLast(Backend):
    """PyTorch eager with weights, input and activations in NHWC memory order."""

    one_by_one = True
    trains = True

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Return a call of what `network` returns; the conversion is not in the timed call."""
        network = self.network(model, example)
        return lambda: network(*example)

    def network(self, model: nn.Module, example: Sequence[Tensor]) -> Callable[..., object]:
        """Convert weights and example to NHWC in place.

        Only tensors of four dimensions have this order.
        """
        import torch

        for each in example:
            if each.dim() == 4:
                each.data = each.contiguous(memory_format=torch.channels_last)
        return model.to(memory_format=torch.channels_last)

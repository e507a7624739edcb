"""PyTorch in eager mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.backends.backend import Backend, Call

if TYPE_CHECKING:
    from torch import Tensor, nn


class Eager(Backend):
    """PyTorch in eager mode: operators are dispatched one by one."""

    one_by_one = True
    trains = True

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Return a call of the network itself."""
        return lambda: model(*example)

    def network(self, model: nn.Module, example: Sequence[Tensor]) -> Callable[..., object]:
        """Return the network itself."""
        return model

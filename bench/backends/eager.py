"""PyTorch as it is: every operator dispatched one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

one_by_one = True


def load(model: nn.Module, example: Tensor, precision: str) -> Callable[[], Tensor]:
    """Call the network itself."""
    return lambda: model(example)


def missing(torch_device: str) -> str | None:
    """Nothing but torch is needed."""
    return None


def preload() -> None:
    """Nothing but torch is needed."""


def name_kernels() -> None:
    """Operators have names."""

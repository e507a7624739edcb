"""PyTorch in eager mode: operators are dispatched one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

one_by_one = True
takes_new_images = True
replays_graph = False


def load(model: nn.Module, example: Sequence[Tensor], precision: str) -> Callable[[], object]:
    """Return a call of the network itself."""
    return lambda: model(*example)


def missing(torch_device: str) -> str | None:
    """Return None: only torch is needed."""
    return None


def preload() -> None:
    """Do nothing: only torch is needed."""


def name_kernels() -> None:
    """Do nothing: operators have names."""

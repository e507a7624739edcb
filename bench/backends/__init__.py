"""Backends by the name that `--backend` takes: each a module with one `load`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.backends import eager

if TYPE_CHECKING:
    from torch import Tensor, nn

    Load = Callable[[nn.Module, Tensor, str], Callable[[Tensor], Tensor]]

__all__ = ["BACKENDS"]

BACKENDS: dict[str, Load] = {"eager": eager.load}

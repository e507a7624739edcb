"""A network for inference, and its copies without its state. Importing this imports no torch."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def with_own_state(model: nn.Module) -> nn.Module:
    """Return a copy of `model` with the same parameters, but its own buffers and attributes.

    A call of the copy leaves `model` as it was: a network may keep a grid of the size of its first
    input, or a counter. A network that Python cannot copy is returned itself.
    """
    try:
        return copy.deepcopy(model, {id(each): each for each in model.parameters()})
    except Exception:  # an attribute such as a lock, a generator or an open file
        return model


def in_eval_mode(model: nn.Module) -> nn.Module:
    """Return `model` in eval mode. An exported program, whose mode is fixed, stays as it is."""
    with contextlib.suppress(NotImplementedError):
        model.eval()
    return model

"""The types of a network's tensors: which of them a precision changes, and which keep their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def cast(
    model: nn.Module, dtype: torch.dtype, device: torch.device | str | None = None
) -> nn.Module:
    """Move `model` to `device`, and its float32, float16 and bfloat16 tensors to `dtype`, in place.

    Parameters and buffers of all other types (float64, complex, integer, bool) keep their type:
    the author of the network chose it. `nn.Module.to(dtype)` would drop the imaginary part of a
    complex parameter. Tensors on the meta device stay there. Returns `model`.
    """
    return model._apply(lambda tensor: cast_tensor(tensor, dtype, device))


def cast_tensor(
    tensor: Tensor, dtype: torch.dtype, device: torch.device | str | None = None
) -> Tensor:
    """Return `tensor` on `device`, and as `dtype` by the rule of `cast`."""
    import torch

    changing = (torch.float32, torch.float16, torch.bfloat16)
    place = None if tensor.is_meta else device
    return tensor.to(place, dtype if tensor.dtype in changing else None)

"""What a network costs on paper: parameters, multiply-accumulates, bytes of weights, structure."""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_params(model: nn.Module) -> int:
    """Number of parameters; buffers such as running statistics are none."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, resolution: int) -> int:
    """Multiply-accumulates of one image (1, 3, resolution, resolution).

    Convolution, linear and matrix products; the paper's "FLOPs". Counted on the meta device
    with attention decomposed, so that neither the device nor the release of torch that runs
    the network has a say in it.
    """
    on_meta = copy.deepcopy(model).eval().to("meta")
    image = torch.empty(1, 3, resolution, resolution, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        on_meta(image)
    return counter.get_total_flops() // 2


def weight_bytes(model: nn.Module) -> int:
    """Bytes that parameters and buffers take."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def structural_hash(model: nn.Module) -> str:
    """A hash of modules, their settings and the shapes of their weights, not of the values.

    Two processes that built the same network agree on it.
    """
    shapes = [f"{name}:{tuple(value.shape)}" for name, value in model.state_dict().items()]
    return hashlib.sha256("\n".join([repr(model), *shapes]).encode()).hexdigest()[:16]

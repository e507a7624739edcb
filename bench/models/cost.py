"""Costs of a network from its structure alone: parameters, multiply-accumulates (MACs), bytes."""

from __future__ import annotations

import copy
import hashlib
import re
from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


def count_params(model: nn.Module) -> int:
    """Return the number of parameters. Buffers, such as running statistics, do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


class Survey(NamedTuple):
    """The work of a network on one image (1, 3, r, r).

    `macs` are the multiply-accumulates of convolutions, linear layers and matrix products; the
    paper calls them FLOPs. `activation_bytes` are all bytes that operators write; views write
    none. The other fields say how often each kind of operator runs.
    """

    macs: int
    activation_bytes: int
    convolutions: int
    normalisations: int
    additions: int
    concatenations: int


def survey(model: nn.Module, resolution: int) -> Survey:
    """Run one image through a copy of `model` on the meta device, with attention decomposed.

    So the result does not depend on the device or the release of torch. `resolution` is in pixels.
    """
    flops, operators = FlopCounterMode(display=False), _OperatorCounter()
    with torch.inference_mode():  # a linear layer is then one operator, without a separate addition
        on_meta = copy.deepcopy(model).eval().to("meta")
        image = torch.empty(1, 3, resolution, resolution, device="meta")
        with sdpa_kernel(SDPBackend.MATH), flops, operators:
            on_meta(image)
    kinds = (operators.calls[kind] for kind in OPERATORS)
    return Survey(flops.get_total_flops() // 2, operators.bytes_written, *kinds)


def count_macs(model: nn.Module, resolution: int) -> int:
    """Return the multiply-accumulates of one image (1, 3, resolution, resolution)."""
    return survey(model, resolution).macs


# Names of ATen operators by kind.
OPERATORS = {
    "convolution": {"convolution", "conv1d", "conv2d", "conv3d"},
    "normalisation": {
        "batch_norm",
        "native_batch_norm",
        "_native_batch_norm_legit_no_training",
        "layer_norm",
        "native_layer_norm",
        "group_norm",
        "native_group_norm",
    },
    "addition": {"add", "add_"},
    "concatenation": {"cat", "concat"},
}


class _OperatorCounter(TorchDispatchMode):
    """Counts the calls of each kind of operator, and the bytes that all operators write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.calls: Counter[str] = Counter()
        self.bytes_written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.calls.update(kind for kind, names in OPERATORS.items() if name in names)
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            written = result if isinstance(result, (tuple, list)) else [result]
            tensors = [value for value in written if isinstance(value, torch.Tensor)]
            self.bytes_written += sum(value.numel() * value.element_size() for value in tensors)
        return result


def zero_share(model: nn.Module) -> float:
    """Return (number of zero parameters) / (number of parameters); see Section 4.1."""
    zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters())
    return zeros / count_params(model)


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def structural_hash(model: nn.Module) -> str:
    """Return a hash of the modules, their settings and the shapes of their weights.

    The values of the weights do not count. The hash is the same in every process.
    """
    shapes = [f"{name}:{tuple(value.shape)}" for name, value in model.state_dict().items()]
    structure = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses in memory
    return hashlib.sha256("\n".join([structure, *shapes]).encode()).hexdigest()[:16]

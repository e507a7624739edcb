"""The operators that a network calls: name, module, MACs and bytes of each, in order of execution.

A profiler records operators in the same order, so the two lists can be matched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.records import Category, Operator

# By the name of the operator. The category of a convolution depends on its shapes.
CATEGORIES: dict[str, Category] = {
    **dict.fromkeys(["linear", "addmm", "mm"], "fully connected"),
    **dict.fromkeys(  # products of activations with each other
        ["bmm", "matmul", "baddbmm", "einsum", "scaled_dot_product_attention"], "attention"
    ),
    **dict.fromkeys(["layer_norm", "native_layer_norm", "rms_norm"], "layer norm"),
    **dict.fromkeys(
        ["batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"], "batch norm"
    ),
    **dict.fromkeys(
        [
            *("gelu", "gelu_", "relu", "relu_", "relu6", "relu6_", "silu", "silu_", "sigmoid"),
            *("sigmoid_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "hardtanh"),
            *("hardtanh_", "tanh", "softmax", "_softmax", "leaky_relu", "leaky_relu_", "elu"),
        ],
        "activation",
    ),
    **dict.fromkeys(["add", "add_"], "addition"),
    **dict.fromkeys(
        [
            *("permute", "transpose", "transpose_", "view", "_unsafe_view", "reshape", "flatten"),
            *("contiguous", "clone", "cat", "concat", "stack", "split", "chunk", "unbind", "t"),
            *("expand", "roll", "unsqueeze", "squeeze", "slice", "select", "pad", "unflatten"),
            *("constant_pad_nd", "copy_", "to", "_to_copy", "numpy_T", "movedim", "narrow"),
        ],
        "dimension transform",
    ),
    **dict.fromkeys(
        [
            *("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"),
            *("max_pool2d_with_indices", "mean", "adaptive_max_pool2d", "adaptive_avg_pool1d"),
        ],
        "pooling",
    ),
}
PRODUCTS = ("bmm", "matmul", "baddbmm", "einsum")
IMAGES = 4  # dimensions: N, C, H, W
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")


def operators(model: nn.Module, example: Tensor) -> list[Operator]:
    """Run `model` once on `example` (N, 3, H, W) and return the operators that it calls.

    In inference mode, torch dispatches the operators that the network calls and does not decompose
    them first: `linear`, for example, is one operator.
    """
    recorder = _Recorder()
    with torch.inference_mode(), _paths(model, recorder), recorder:
        model(example)
    return recorder.operators


class _Recorder(TorchDispatchMode):
    """Records operators. The last entry of `where` is the path of the module that runs now."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.operators: list[Operator] = []
        self.where = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = _tensors(args)
        written = _tensors([result])
        is_view = func.is_view and _shares(written, tensors)
        moved = 0 if is_view else sum(_bytes(tensor) for tensor in [*tensors, *written])
        self.operators.append(
            Operator(
                name=name,
                module=self.where[-1],
                category=category(name, tensors),
                macs=_macs(name, args, result),
                bytes=moved,
                namespace=func.namespace,
            )
        )
        return result


@contextmanager
def _paths(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Keep `recorder.where` up to date by hooks; remove the hooks on exit."""

    def enter(path: str) -> Callable[..., None]:
        return lambda *_: recorder.where.append(path)

    handles: list[Any] = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(path)))
        handles.append(module.register_forward_hook(lambda *_: recorder.where.pop() and None))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def category(name: str, tensors: list[Tensor]) -> Category:
    """Return the category of an operator, from its name and the shapes of its `tensors`.

    A matrix product with a learned weight is "fully connected". A convolution in more than one
    group is "depthwise or group conv", whatever its kernel; any other with a 1x1 kernel is
    "pointwise conv". CATEGORIES lists the other operators by name.
    """
    if name in PRODUCTS and any(isinstance(tensor, nn.Parameter) for tensor in tensors):
        return "fully connected"
    if name == "mean" and tensors and tensors[0].dim() != IMAGES:
        return "other"
    if name not in CONVOLUTIONS:
        return CATEGORIES.get(name, "other")
    images, weight = tensors[:2]
    if images.shape[1] != weight.shape[1]:
        return "depthwise or group conv"
    return "pointwise conv" if math.prod(weight.shape[2:]) == 1 else "other conv"


def _macs(name: str, args: Any, result: Any) -> int | None:
    """Return the multiply-accumulates of an operator; None if it has none.

    Convolution: outputs * (I / groups) * h * w. Linear layer and product: outputs * inner size.
    Attention: N * heads * L * S * (E + E_v), for the products with keys and with values.
    """
    tensors = _tensors(args)
    if name in CONVOLUTIONS:
        return int(result.numel()) * math.prod(tensors[1].shape[1:])
    if name in ("linear", "matmul", "mm", "bmm"):
        return int(result.numel()) * tensors[0].shape[-1]
    if name in ("addmm", "baddbmm"):
        return int(result.numel()) * tensors[1].shape[-1]
    if name == "scaled_dot_product_attention":
        query, key = tensors[0], tensors[1]
        scores = math.prod(query.shape[:-1]) * key.shape[-2]
        return scores * (query.shape[-1] + result.shape[-1])
    return None


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _tensors(value)
    return found


def _shares(written: list[Tensor], tensors: list[Tensor]) -> bool:
    """Whether the results share the storage of an argument: `reshape` may return a view or copy."""
    known = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    return all(result.untyped_storage().data_ptr() in known for result in written)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()

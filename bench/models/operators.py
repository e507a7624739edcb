"""What a network is made of when it runs: its operators in order, where they stand, what they cost.

The order is that in which a profiler sees them, so one can be laid over the other.
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

# By the name of the operator; what a convolution is, its shapes tell.
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
    """Run `model` once on `example` (N, 3, H, W), in inference mode, and list what it calls.

    There every operator is seen as the network calls it, not as the parts it is made of.
    """
    recorder = _Recorder()
    with torch.inference_mode(), _paths(model, recorder), recorder:
        model(example)
    return recorder.operators


class _Recorder(TorchDispatchMode):
    """Lists operators; `where` is the path of the module that runs now."""

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
        moved = 0 if is_view else sum(_bytes(each) for each in [*tensors, *written])
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
    """While inside, the recorder knows which module runs; the hooks are gone afterwards."""

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
    """What kind of work an operator does: by its name, of a convolution by its shapes."""
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
    """Multiply-accumulates of a convolution, a linear layer, a product or an attention."""
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
    """Whether a result is only another look at an argument: `reshape` may be, or copy."""
    known = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    return all(result.untyped_storage().data_ptr() in known for result in written)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()

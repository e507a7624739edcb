"""The operators that a network calls: name, module, MACs and bytes of each, in order of execution.

A profiler records operators in the same order, so the two lists can be matched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from bench.models import dispatch
from bench.models.formulas import CONVOLUTIONS, RECURRENT, TRANSPOSED, tensors_in
from bench.records import Category, Operator

PRODUCTS = ("bmm", "matmul", "baddbmm", "addbmm", "einsum", "tensordot", "inner", "linalg_matmul")
ATTENTION = (
    "scaled_dot_product_attention",
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
)
CONVOLVES = (*CONVOLUTIONS, *TRANSPOSED, "convolution", "_convolution", "deform_conv2d")
# By the name of the operator. The category of a convolution depends on its shapes.
CATEGORIES: dict[str, Category] = {
    **dict.fromkeys(["linear", "addmm", "mm", "bilinear", *RECURRENT], "fully connected"),
    **dict.fromkeys([f"{name}_cell" for name in RECURRENT], "fully connected"),
    **dict.fromkeys([*PRODUCTS, *ATTENTION], "attention"),  # of activations with each other
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
IMAGES = 4  # dimensions: N, C, H, W


def operators(
    model: nn.Module,
    images: Sequence[Tensor],
    mode: Callable[[], AbstractContextManager[Any]] = torch.inference_mode,
) -> list[Operator]:
    """Run `model` once on `images`, its positional inputs; return the operators that it calls.

    In inference mode, torch dispatches the operators that the network calls and does not decompose
    them first: `linear`, for example, is one operator. `mode` is another mode without gradients,
    for a torch that shows no operators there.
    """
    recorder = _Recorder()
    with mode(), _paths(model, recorder), recorder:
        model(*images)
    return recorder.operators


class _Recorder(TorchDispatchMode):
    """Records operators. The last entry of `where` is the path of the module that runs now."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.operators: list[Operator] = []
        self.where = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        done = dispatch.call(func, args, kwargs or {})
        name = func.overloadpacket.__name__
        self.operators.append(
            Operator(
                name=name,
                module=self.where[-1],
                category=category(name, list(tensors_in(args)), list(tensors_in([done.result]))),
                macs=None if done.unknown else done.macs or None,
                bytes=done.read + done.written,
                namespace=func.namespace,
            )
        )
        return done.result


@contextmanager
def _paths(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Keep `recorder.where` up to date by hooks; remove the hooks on exit.

    The hooks are global: a `TransformerEncoderLayer` whose modules have hooks runs other operators.
    """
    paths = {module: path for path, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        recorder.where.append(paths.get(module, recorder.where[-1]))

    def leave(*_: Any) -> None:
        recorder.where.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def category(name: str, tensors: Sequence[Tensor], results: Sequence[Tensor] = ()) -> Category:
    """Return the category of an operator, from its name and the shapes of its tensors.

    A matrix product with a learned weight is "fully connected". A convolution in more than one
    group is "depthwise or group conv", whatever its kernel; any other with a 1x1 kernel is
    "pointwise conv". CATEGORIES lists the other operators by name.
    """
    if name in PRODUCTS and any(isinstance(tensor, nn.Parameter) for tensor in tensors):
        return "fully connected"
    if name == "mean" and tensors and tensors[0].dim() != IMAGES:
        return "other"
    if name not in CONVOLVES:
        return CATEGORIES.get(name, "other")
    images, weight = tensors[:2]
    whole = results[0] if name in TRANSPOSED else images  # all groups; the weight has one group's
    if whole.shape[1 - weight.dim()] != weight.shape[1]:  # channels, also without a batch
        return "depthwise or group conv"
    return "pointwise conv" if math.prod(weight.shape[2:]) == 1 else "other conv"

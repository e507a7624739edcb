"""Counts the operators of a network while it runs, and finds work that no counter sees."""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.models import dispatch
from bench.models.formulas import CONVOLUTIONS, TRANSPOSED, name_of, tensors_in
from bench.models.operators import category

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
ELEMENTS = {"batch norm": "normalised", "activation": "activated"}  # category -> field
WITH_BIAS = (*CONVOLUTIONS, *TRANSPOSED, "linear")
SETTERS = ("set_eval_frame", "_maybe_set_eval_frame")  # of torch 2.4, of torch 2.5
BIAS = 2  # its place among the arguments: input, weight, bias
NoGradient = Callable[[], AbstractContextManager[Any]]


class OperatorCounter(TorchDispatchMode):
    """Counts the operators of each kind, their multiply-accumulates and the bytes they write.

    `seen` counts all operators. `unknown` names those that have no formula.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.calls: Counter[str] = Counter()
        self.seen = self.macs = self.bytes_written = 0
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(func)
        self.calls.update(kind for kind, names in OPERATORS.items() if name in names)
        done = dispatch.call(func, args, kwargs or {})
        self.seen += 1
        self.macs += done.macs
        self.unknown |= done.unknown
        self.bytes_written += done.written
        return done.result


class ElementCounter(TorchDispatchMode):
    """Counts elements of small operators, by the field of `cost.SmallOperators`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.elements: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name, given, found = name_of(func), list(tensors_in(args)), list(tensors_in([result]))
        if name in WITH_BIAS and isinstance((*args, None, None)[BIAS], Tensor):
            self.elements["biases"] += found[0].numel()
        kind = category(name, given, found)
        if kind == "pooling":
            self.elements["pooled"] += given[0].numel()
        elif kind in ELEMENTS:
            self.elements[ELEMENTS[kind]] += found[0].numel()
        return result


class NumPyWatch(TorchFunctionMode):
    """Notes in `shape` that a network hands a tensor to NumPy, whose work torch does not see.

    Single numbers and integers, such as indices and sizes, do not count.
    """

    shape: torch.Size | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.numpy, Tensor.__array__):
            values = args[0]
            if values.numel() > 1 and (values.is_floating_point() or values.is_complex()):
                self.shape = values.shape
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Compute no gradients, but leave inference mode, in which `torch.no_grad` alone would stay."""
    with torch.inference_mode(False), torch.no_grad():
        yield


@functools.cache
def visible_mode() -> NoGradient | None:
    """The mode without gradients in which a known convolution and linear layer are counted right.

    Preferably inference mode, where a linear layer is one operator without a separate addition.
    Where torch shows nothing there, outside of it. None if neither shows operators. The proof runs
    once in a process.
    """
    image, kernel = torch.empty(1, 3, 8, 8), torch.empty(4, 3, 5, 5)
    for mode in (torch.inference_mode, outside_inference_mode):
        counter = OperatorCounter()
        with mode(), counter:
            pixels = functional.conv2d(image, kernel)  # (1, 4, 4, 4)
            functional.linear(pixels, torch.empty(6, 4))
        if counter.macs == 4 * 4 * 4 * 3 * 5 * 5 + 4 * 4 * 6 * 4:
            return mode
    return None


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled modules as they were before: the code of a compiler shows no operators.

    torch before 2.6 has no `set_stance`. There, a compiled module sets the compiler for its call,
    by a function whose name is another in each release.
    """
    compiler: Any = sys.modules.get("torch._dynamo.eval_frame")
    if stance := getattr(torch.compiler, "set_stance", None):
        with stance("force_eager"):
            yield
        return
    known = {name: getattr(compiler, name) for name in SETTERS if hasattr(compiler, name)}
    try:
        for name in known:
            setattr(compiler, name, _set_nothing)
        yield
    finally:
        for name, setter in known.items():
            setattr(compiler, name, setter)


def _set_nothing(compiler: object) -> None:
    """Leave the code as it is."""


def hidden_operators(model: nn.Module) -> set[str]:
    """Names of operators in scripted modules that TorchScript runs itself, unseen by a counter.

    `torch.jit.optimize_for_inference` and fusion put them into a graph.
    """
    kinds = {
        node.kind()
        for module in model.modules()
        if isinstance(module, torch.jit.ScriptModule) and module._c._has_method("forward")
        for node in _nodes(module.inlined_graph)
    }
    return {kind for kind in kinds if _is_hidden(kind)}


def _is_hidden(kind: str) -> bool:
    name = kind.lower()
    is_group = name.endswith("group") or "fusion" in name
    return name.startswith("prim::") and (("mkldnn" in name and "constant" not in name) or is_group)


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in eval mode.

    Tensors that another tensor was computed into, such as the weight of `weight_norm`, cannot be
    copied by `copy.deepcopy`; the copy has their values.
    """
    computed = (
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    )
    memo = {id(value): value.detach().clone() for value in computed}
    return copy.deepcopy(model, memo).eval()

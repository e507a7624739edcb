"""Find out which module reads which output in a network: by tracing it, or by watching a call.

`torch.fx` follows `forward` without an input, for any input. It cannot follow a network that looks
at a size or a value (`if h % 32`). Such a network is run on an example instead, and every operator
is watched; what is found then holds for inputs that take the same way through the network.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary


class Reads:
    """What one call of the network does with its convolutions and BatchNorms.

    `calls` counts the calls of a module, `readers` who reads the output of a convolution, and
    `source` is the convolution before a BatchNorm. `exposed` are modules whose weights something
    else reads.
    """

    def __init__(self) -> None:
        self.calls: Counter[nn.Module] = Counter()
        self.readers: Counter[nn.Module] = Counter()
        self.source: dict[nn.Module, nn.Module] = {}
        self.exposed: set[nn.Module] = set()


class _Tracer(fx.Tracer):
    """Traces convolutions and BatchNorms, and their subclasses, as single nodes."""

    proxy_buffer_attributes = True  # a buffer that is read becomes a node, as a weight does

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether `module` is one node of the graph."""
        return isinstance(module, (nn.Conv2d, _BatchNorm)) or super().is_leaf_module(module, name)


def trace(model: nn.Module) -> Reads:
    """Trace the network; raises the exception of `torch.fx` if that fails.

    A copy is traced: `forward` may keep what it computes, which is no tensor while it is traced.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    reads = Reads()
    for node in _Tracer().trace(copy.deepcopy(model)).nodes:
        if node.op == "get_attr":
            owner = modules.get(str(node.target).rpartition(".")[0])
            reads.exposed |= {owner} if owner else set()
        if node.op != "call_module":
            continue
        module = modules[str(node.target)]
        reads.calls[module] += 1
        reads.readers[module] += len(node.users)
        source = node.args[0] if node.args else None
        if isinstance(source, fx.Node) and source.op == "call_module":
            reads.source[module] = modules[str(source.target)]
    return reads


def watch(model: nn.Module, example: Sequence[Tensor]) -> Reads:
    """Run a copy of the network on an example, and watch; raises what the network raises."""
    twin = copy.deepcopy(model)
    watcher = _Watcher(dict(zip(twin.modules(), model.modules(), strict=True)))
    with torch.no_grad(), watcher:
        output = twin(*example)
    watcher.finish()
    del output  # alive until here: what it holds has a reader outside the network
    return watcher.reads


class _Watcher(TorchDispatchMode):
    """Sees every operator; hooks tell in which convolution or BatchNorm it runs."""

    def __init__(self, original: dict[nn.Module, nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads = Reads()
        self._inside: list[nn.Module] = []
        self._maker: Any = WeakTensorKeyDictionary()  # output of a convolution -> the convolution
        self._owner: Any = WeakTensorKeyDictionary()  # weight -> module
        for twin, module in original.items():
            if not isinstance(module, (nn.Conv2d, _BatchNorm)):
                continue
            twin.register_forward_pre_hook(self._enter(module))
            twin.register_forward_hook(self._leave(module))
            for weight in (*twin.parameters(), *twin.buffers()):
                self._owner[weight] = module

    def finish(self) -> None:
        """Count a reader for each output that is still held after the call."""
        self.reads.readers.update(self._maker.values())

    def _enter(self, module: nn.Module) -> Callable[..., None]:
        def enter(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            self.reads.calls[module] += 1
            first = arguments[0] if arguments else None
            if isinstance(first, Tensor) and first in self._maker:
                self.reads.source[module] = self._maker[first]
                self.reads.readers[self._maker[first]] += 1
            self._inside.append(module)

        return enter

    def _leave(self, module: nn.Module) -> Callable[..., None]:
        def leave(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            self._inside.pop()
            if isinstance(module, nn.Conv2d) and isinstance(output, Tensor):
                self._maker[output] = module

        return leave

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count who reads what, and run the operator."""
        here = self._inside[-1] if self._inside else None
        for tensor in tree_leaves((args, kwargs or {})):
            if not isinstance(tensor, Tensor):
                continue
            maker, owner = self._maker.get(tensor), self._owner.get(tensor)
            follows = here is not None and self.reads.source.get(here) is maker
            if maker is not None and not follows:
                self.reads.readers[maker] += 1
            if owner is not None and owner is not here:
                self.reads.exposed.add(owner)
        return func(*args, **(kwargs or {}))

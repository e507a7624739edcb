"""Merge the blocks of any network by the methods that its authors gave them.

A block says by a method how its branches become one layer. The name differs from one library to
the next (`METHODS`), and so does what the method does: it returns a new layer, or it changes the
block and returns None or the block. A thing with one of these names may also be something else: a
layer that is called `fuse`, or a `fuse(x)` that joins two feature maps.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bench.text import brief, some_of

T = TypeVar("T")

METHODS = ("fuse", "reparameterize", "switch_to_deploy", "merge_kernel")


class Merged(NamedTuple):
    """A network whose blocks are merged, how many are, and why others are not, as sentences."""

    network: nn.Module
    blocks: int
    notes: list[str]


def can_merge(model: nn.Module) -> bool:
    """Whether a module has a method of `METHODS` that can be called without arguments."""
    return any(_callable_methods(module) for module in model.modules())


def merge_blocks(model: nn.Module) -> Merged:
    """Merge each block, the outermost first; changes `model` in place, which may be a block itself.

    A method runs on a copy of its block, in float64 where that works. The copy replaces the block
    only if the method ends without an error and changes something. After that, the parts that it
    did not touch are merged too.
    """
    walk = _Walk()
    network = walk.visit(model, "")
    return Merged(network, walk.merged, walk.notes())


def _callable_methods(module: nn.Module) -> list[str]:
    return [name for name in METHODS if _required(module, name) == []]


def _required(module: nn.Module, name: str) -> list[str] | None:
    """The arguments that the method needs; None if the class has no method of this name."""
    method = inspect.getattr_static(type(module), name, None)
    if not inspect.isfunction(method):
        return None
    own = list(inspect.signature(method).parameters.values())[1:]  # without self
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in own if p.default is p.empty and p.kind not in optional]


def _methods_with_arguments(module: nn.Module) -> list[str]:
    required = {name: _required(module, name) for name in METHODS}
    kind = type(module).__name__
    return [
        f"{kind}.{name}({', '.join(needed)}) needs an argument"
        for name, needed in required.items()
        if needed
    ]


class _Walk:
    """One pass over a network. What has been visited or merged is kept alive: ids stay unique."""

    def __init__(self) -> None:
        self.merged = 0
        self._results: dict[int, tuple[nn.Module, nn.Module]] = {}  # visited, and what became of it
        self._touched: dict[int, nn.Module] = {}  # made or changed by the method of a parent
        self._left: dict[str, list[str]] = {}  # the reason, and the blocks

    def visit(self, module: nn.Module, path: str) -> nn.Module:
        """Return what replaces `module`: its merged form, or `module` with merged parts."""
        if id(module) in self._results:
            return self._results[id(module)][1]
        result = module if id(module) in self._touched else self._merge(module, path)
        self._results[id(module)] = (module, result)
        for name, child in list(result._modules.items()):
            if child is not None:
                new = self.visit(child, f"{path}.{name}".lstrip("."))
                if new is not child:
                    setattr(result, name, new)
        return result

    def notes(self) -> list[str]:
        """Say which blocks have a method that did not work, and why."""
        return [f"Not merged: {some_of(paths)}: {why}." for why, paths in self._left.items()]

    def _merge(self, block: nn.Module, path: str) -> nn.Module:
        reasons = []
        for method in _callable_methods(block):
            called = f"{type(block).__name__}.{method}()"
            try:
                return self._keep(block, method)
            except Exception as error:  # the method is code of the network's author
                reasons.append(f"{called} failed with {brief(error)}")
        if not reasons:
            reasons = _methods_with_arguments(block)
        for reason in reasons:
            self._left.setdefault(reason, []).append(path or "the network itself")
        return block

    def _keep(self, block: nn.Module, method: str) -> nn.Module:
        """Return the merged block; `block` itself if the method changes nothing."""
        parts, result = _call(block, method)
        touched = [m for m in result.modules() if not _is_same(parts.get(m), m)]
        if not touched:
            return block
        self.merged += 1
        self._touched |= {id(module): module for module in touched}
        return result


def _call(block: nn.Module, method: str) -> tuple[dict[nn.Module, nn.Module], nn.Module]:
    """Call the method on a copy of `block`, in float64 or else in the block's own data type.

    Returns the parts of the copy with those of `block`, and the merged block in the data type and
    on the device of `block`. Raises what the method raises, or TypeError if it returns something
    else than a module or None.
    """
    tensors = _tensors(block).values()
    dtype = _only({tensor.dtype for tensor in tensors if tensor.is_floating_point()})
    if dtype not in (None, torch.float64):
        with contextlib.suppress(Exception):
            parts, merged = _call_in(torch.float64, block, method)
            return parts, merged.to(dtype)
    return _call_in(dtype, block, method)


def _call_in(
    dtype: torch.dtype | None, block: nn.Module, method: str
) -> tuple[dict[nn.Module, nn.Module], nn.Module]:
    trial = copy.deepcopy(block)
    parts = dict(zip(trial.modules(), block.modules(), strict=True))
    device = _only({tensor.device for tensor in _tensors(block).values()})
    with torch.no_grad(), _new_layers(dtype), device or contextlib.nullcontext():
        result = getattr(trial.to(dtype), method)()
    if result is None:
        result = trial
    if not isinstance(result, nn.Module):
        raise TypeError(f"it returns {type(result).__name__}, not a module")
    if not block.training:
        result.eval()
    return parts, result.to(device, dtype)


def _only(values: set[T]) -> T | None:
    """The value that all have in common; None if there are several, or none."""
    return next(iter(values)) if len(values) == 1 else None


@contextlib.contextmanager
def _new_layers(dtype: torch.dtype | None) -> Iterator[None]:
    """Layers that a method creates get this data type, unless it names another."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _is_same(before: nn.Module | None, after: nn.Module) -> bool:
    """Whether a method left a module as it was: its layers and its weights."""
    if before is None or repr(before) != repr(after):
        return False
    old, new = _tensors(before), _tensors(after)
    return old.keys() == new.keys() and all(_is_equal(old[name], new[name]) for name in old)


def _is_equal(before: Tensor, after: Tensor) -> bool:
    if before.shape != after.shape or before.is_meta:
        return before.shape == after.shape
    return torch.equal(before, after)

"""Takes off what other programs put around a network: compilers and data parallelism.

Otherwise a backend would time another program's code: a compiled module, for example, as eager.
Importing this file imports no torch.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

COMPILED = (
    "the network was compiled by its code; bench took that off, so that the backend decides "
    "(`--backend compile` compiles it)"
)
PARALLEL = "the network was data parallel by its code; bench took that off: it times one device"


class Unwrapped(NamedTuple):
    """A network without wrappers, and a sentence on each kind of wrapper that was taken off."""

    network: nn.Module
    notes: list[str]


def unwrap(model: nn.Module) -> Unwrapped:
    """Take off `torch.compile` and `DataParallel` from the network and from its modules, in place.

    Compiled are a module (`torch.compile(net)`, `net.compile()`), the `forward` of a module, or the
    `forward` of its class.
    """
    parent = {"network": model}
    notes: dict[str, None] = {}
    _unwrap_children(parent, notes)
    return Unwrapped(parent["network"], list(notes))


def _unwrap_children(children: dict[str, Any], notes: dict[str, None]) -> None:
    """Replace each wrapper among the modules of a parent, and in the modules below them."""
    for name, child in list(children.items()):
        if child is None:
            continue
        while (inner := _inside(child, notes)) is not child:
            child = children[name] = inner
        if not _is_scripted(child):
            _restore_forward(child, notes)
            _unwrap_children(child._modules, notes)


def _inside(module: nn.Module, notes: dict[str, None]) -> nn.Module:
    """Return the module inside a wrapper; `module` itself if it is none."""
    from torch import nn

    if _is_scripted(module):
        return module
    inner = module._modules.get("_orig_mod")
    if inner is not None:
        notes[COMPILED] = None
        return inner
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    if isinstance(module, parallel):
        notes[PARALLEL] = None
        return module.module
    return module


def _restore_forward(module: nn.Module, notes: dict[str, None]) -> None:
    """Take the compiler off the call of a module: `net.compile()`, and a compiled `forward`."""
    if getattr(module, "_compiled_call_impl", None) is not None:
        module._compiled_call_impl = None
        notes[COMPILED] = None
    plain = getattr(module.__dict__.get("forward"), "_torchdynamo_orig_callable", None)
    of_class = getattr(type(module).forward, "_torchdynamo_orig_callable", None)
    if plain is None and "forward" not in module.__dict__ and of_class is not None:
        plain = types.MethodType(of_class, module)
    if plain is not None:
        module.forward = plain
        notes[COMPILED] = None


def _is_scripted(module: nn.Module) -> bool:
    import torch

    return isinstance(module, torch.jit.ScriptModule)

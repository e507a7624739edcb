"""Fold each BatchNorm into the convolution before it, in any network that torch.fx can trace.

W' = W * gamma / sqrt(var + eps) and b' = beta + (b - mean) * gamma / sqrt(var + eps), for each
output channel (paradigm 1 in Section 2.2 of the paper).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.models import reparam
from bench.models.reparam import affine_of, conv_then_affine, kernel_of


class _Tracer(fx.Tracer):
    """Traces convolutions and BatchNorms, and their subclasses, as single nodes."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether `module` is one node of the graph."""
        return isinstance(module, (nn.Conv2d, _BatchNorm)) or super().is_leaf_module(module, name)


def fold_batchnorms(model: nn.Module) -> None:
    """Fold every BatchNorm that is the only reader of a convolution; changes `model` in place.

    A BatchNorm of timm may also apply a dropout and an activation; these stay in its place. Pairs
    that cannot be folded stay unchanged. Raises the exception of torch.fx if tracing fails.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    nodes = list(_Tracer().trace(model).nodes)
    used = Counter(id(modules[str(node.target)]) for node in nodes if node.op == "call_module")
    for node in nodes:
        source = _source(node)
        norm: Any = _module(node, modules)
        conv: Any = _module(source, modules)
        if source is None or not _folds(conv, norm) or max(used[id(conv)], used[id(norm)]) > 1:
            continue
        fused = conv_then_affine(kernel_of(conv), affine_of(norm))
        _put(model, str(source.target), reparam.conv2d(fused, conv))
        _put(model, str(node.target), _remainder(norm))


def _folds(conv: Any, norm: Any) -> bool:
    """Whether `conv_then_affine` and `reparam.conv2d` are exact for the pair.

    A subclass of Conv2d may compute something else, and `reparam.conv2d` cannot copy a dilation.
    """
    return (
        type(conv) is nn.Conv2d
        and isinstance(norm, _BatchNorm)
        and norm.running_mean is not None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and set(conv.dilation) == {1}
    )


def _put(model: nn.Module, target: str, module: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _source(node: fx.Node) -> fx.Node | None:
    """The first input of `node`, if no other node reads it; otherwise None."""
    source = node.args[0] if node.args else None
    return source if isinstance(source, fx.Node) and len(source.users) == 1 else None


def _module(node: fx.Node | None, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node is not None and node.op == "call_module" else None


def _remainder(norm: Any) -> nn.Module:
    """What follows the affine map inside a BatchNorm: in timm, a dropout and an activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    kept = [module for module in rest if not isinstance(module, nn.Identity)]
    return kept[0] if len(kept) == 1 else nn.Sequential(*kept) if kept else nn.Identity()

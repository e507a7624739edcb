"""Folding BatchNorm into the convolution before it, in a network whose code is not ours."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.models import reparam
from bench.models.reparam import affine_of, conv_then_affine, kernel_of


class _Tracer(fx.Tracer):
    """Stops at convolutions and BatchNorms, subclasses too."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether `module` is one node of the graph."""
        return isinstance(module, (nn.Conv2d, _BatchNorm)) or super().is_leaf_module(module, name)


def fold_batchnorms(model: nn.Module) -> None:
    """Fold, in place, every BatchNorm whose input is a convolution that nothing else reads.

    What a BatchNorm did besides (timm's apply an activation too) stays in its place, and what
    cannot be folded stays as it is. Raises what torch.fx raises where the network cannot be
    traced.
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
    """Whether the pair is one whose algebra is ours: no subclass of a convolution, no dilation."""
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
    """The node that `node` alone reads, if there is one."""
    source = node.args[0] if node.args else None
    return source if isinstance(source, fx.Node) and len(source.users) == 1 else None


def _module(node: fx.Node | None, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node is not None and node.op == "call_module" else None


def _remainder(norm: Any) -> nn.Module:
    """What a BatchNorm does besides its map: nothing, or in timm a dropout and an activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    kept = [module for module in rest if not isinstance(module, nn.Identity)]
    return kept[0] if len(kept) == 1 else nn.Sequential(*kept) if kept else nn.Identity()

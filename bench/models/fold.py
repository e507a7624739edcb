"""Fold each BatchNorm into the convolution before it, in any network.

W' = W * gamma / sqrt(var + eps) and b' = beta + (b - mean) * gamma / sqrt(var + eps), for each
output channel (paradigm 1 in Section 2.2 of the paper).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from bench.models import reads, reparam
from bench.models.reads import Reads
from bench.models.reparam import affine_of, conv_then_affine, kernel_of
from bench.text import brief, some_of


class Folded(NamedTuple):
    """How many BatchNorms were folded, and why others remain, as sentences."""

    total: int
    notes: list[str]


def fold_batchnorms(model: nn.Module, example: Sequence[Tensor] = ()) -> Folded:
    """Fold every BatchNorm that is the only reader of a convolution; changes `model` in place.

    `torch.fx` traces the network. If it cannot, the network runs once on `example`; without an
    example, all BatchNorms then remain. A BatchNorm of timm may also apply a dropout and an
    activation; these stay in its place. Pairs that cannot be folded stay unchanged.
    """
    names = {m: name for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if not names:
        return Folded(0, [])
    left: dict[str, list[str]] = {}
    found = _find_reads(model, example)
    for norm, name in names.items():
        why = found if isinstance(found, str) else _obstacle(norm, found)
        if why:
            left.setdefault(why, []).append(name)
        elif isinstance(found, Reads):
            _fold(model, found.source[norm], norm)
    notes = [f"{_remain(own)}, because {why}." for why, own in left.items()]
    return Folded(len(names) - sum(map(len, left.values())), notes)


def _remain(names: list[str]) -> str:
    verb = "BatchNorm is" if len(names) == 1 else "BatchNorms are"
    return f"{len(names)} {verb} not folded ({some_of(names)})"


def _find_reads(model: nn.Module, example: Sequence[Tensor]) -> Reads | str:
    """Who reads what in the network, or why that is unknown."""
    try:
        return reads.trace(model)
    except Exception as error:  # `forward` is code of the network's author
        untraced = f"torch.fx cannot trace the network ({brief(error)})"
    if not example:
        return f"{untraced}, and there is no example input to run it on"
    try:
        return reads.watch(model, example)
    except Exception as error:
        return f"{untraced}, and it cannot be run on the example input ({brief(error)})"


def _obstacle(norm: Any, found: Reads) -> str:
    """Why the BatchNorm cannot be folded exactly; "" if it can."""
    conv: Any = found.source.get(norm)
    if not found.calls[norm]:
        return "the network does not call them"
    if not isinstance(conv, nn.Conv2d):
        return "no Conv2d comes directly before"
    if max(found.calls[norm], found.calls[conv]) > 1:
        return "they or the convolution before them are called more than once"
    if found.readers[conv] > 1:
        return "something else reads the convolution before them too"
    if {norm, conv} & found.exposed:
        return "something else reads their weights or those of the convolution before them"
    if norm.running_mean is None or norm.training:
        return "their statistics are those of the batch"
    if not _computes_as_usual(conv, norm) or _has_hooks(conv) or _has_hooks(norm):
        return "they or the convolution before them have a class or a hook of their own"
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or set(conv.dilation) != {1}:
        return "the convolution before them is dilated, or has no fixed padding of zeros"
    return ""


def _computes_as_usual(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether neither is a subclass with another `forward`. timm's BatchNorms are known here."""
    usual = [_BatchNorm.forward, SyncBatchNorm.forward]
    if norm_act := sys.modules.get("timm.layers.norm_act"):  # otherwise none can be of its type
        usual.append(norm_act.BatchNormAct2d.forward)
    return type(conv) is nn.Conv2d and type(norm).forward in usual


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _fold(model: nn.Module, conv: Any, norm: Any) -> None:
    fused = conv_then_affine(kernel_of(conv), affine_of(norm))
    _replace(model, conv, reparam.conv2d(fused, conv))
    _replace(model, norm, _remainder(norm))


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in each place of `old`: a module may be registered twice and called once."""
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is old:
                setattr(parent, name, new)


def _remainder(norm: Any) -> nn.Module:
    """What follows the affine map inside a BatchNorm: in timm, a dropout and an activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    kept = [module for module in rest if not isinstance(module, nn.Identity)]
    return kept[0] if len(kept) == 1 else nn.Sequential(*kept) if kept else nn.Identity()

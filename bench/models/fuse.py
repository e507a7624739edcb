"""One form of a network made of another. Importing this file imports no torch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.models import forms

if TYPE_CHECKING:
    from torch import nn

MERGE_METHODS = (forms.FUSE, "reparameterize", "switch_to_deploy")  # ours and timm's


def fuse(model: nn.Module, form: str) -> nn.Module:
    """Return `model` in another form (Sections 3.1 and 3.2); `model` itself stays as it is.

    Computes in float64 and casts back, on the device of the weights. `model` may have any form
    whose branches are still there: `srep` can be made of `train` or of `rrep`.

    Raises:
        UsageError: where the network has no such form, or its branches are merged already.
    """
    has = forms_of(model)
    if form not in has:
        raise UsageError(
            f"this {type(model).__name__} has no form {form!r}", f"It has: {', '.join(has)}."
        )
    if form != forms.ONLY and _is_merged(model, form):
        raise UsageError(
            f"the branches of this network are already merged: it cannot become {form!r}",
            "Fuse from its train form.",
        )
    fused = copy.deepcopy(model)
    for step in forms.find(form).steps:
        if step == forms.FUSE:
            fused = _merge(fused)
        else:
            replace(fused, step)
    return fused


def forms_of(model: nn.Module) -> tuple[str, ...]:
    """The forms that a network can have, by the modules in it."""
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt):
        return forms.of(forms.REPNEXT)
    return forms.of(forms.MERGING if can_merge(model) else forms.PLAIN)


def can_merge(model: nn.Module) -> bool:
    """Whether a network has branches that merge, by our `fuse()` or by timm's mechanism."""
    from bench.models.replknet import RepLKNet

    return isinstance(model, RepLKNet) or _has_method(model, MERGE_METHODS)


def replace(module: nn.Module, method: str) -> None:
    """Replace every outermost child that has `method` by what that returns."""
    for name, child in module.named_children():
        make = getattr(child, method, None)
        if make is None:
            replace(child, method)
        else:
            setattr(module, name, make())


def _has_method(model: nn.Module, methods: tuple[str, ...]) -> bool:
    return any(hasattr(module, name) for module in model.modules() for name in methods)


def _is_merged(model: nn.Module, form: str) -> bool:
    """Whether what makes `form` is no longer there: blocks of RepNeXt, BatchNorms of the rest."""
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt) and not forms.find(form).is_built:
        return not _has_method(model, forms.BLOCK_STEPS)
    return not _has_batchnorm(model)


def _has_batchnorm(model: nn.Module) -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(module, _BatchNorm) for module in model.modules())


def _merge(model: nn.Module) -> nn.Module:
    """Branches merged and BatchNorms folded, by our `fuse()` or by timm's mechanism; in place."""
    from torch import nn

    from bench.models.fold import fold_batchnorms
    from bench.models.replknet import RepLKNet
    from bench.models.repnext import RepNeXt

    if isinstance(model, (RepNeXt, RepLKNet)):
        replace(model, forms.FUSE)
        return model
    parent = nn.Sequential(model)  # the network itself may be a block that merges
    _merge_by_timm(parent)
    if _has_batchnorm(parent):
        fold_batchnorms(parent)
    return parent[0]


def _merge_by_timm(module: nn.Module) -> None:
    """Merge each block that can be by timm's mechanism, in float64, one block at a time."""
    from timm.utils.model import reparameterize_model
    from torch import nn

    for name, child in module.named_children():
        if any(hasattr(child, method) for method in MERGE_METHODS):
            dtype = next(child.parameters()).dtype
            parent = nn.Sequential(child.double())  # timm puts new blocks into their parent
            reparameterize_model(parent, inplace=True)
            setattr(module, name, parent[0].to(dtype))
        else:
            _merge_by_timm(child)

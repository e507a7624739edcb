"""Make one form of a network from another. Importing this file imports no torch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.models import forms

if TYPE_CHECKING:
    from torch import nn

MERGE_METHODS = (forms.FUSE, "reparameterize", "switch_to_deploy")  # of this package; of timm


def fuse(model: nn.Module, form: str) -> nn.Module:
    """Return a copy of `model` in another form; `model` itself does not change.

    `rrep` folds BatchNorms, W' = W * gamma / sqrt(var + eps) and
    b' = beta + (b - mean) * gamma / sqrt(var + eps), and merges parallel branches (Section 3.1).
    `srep` also removes the shortcuts (Section 3.2). Folds are computed in float64, on the device
    of the weights, and cast back to the type of the weights.

    `srep` and `rrep_fc` can be made from `train` or from `rrep`.

    Raises:
        UsageError: if the network does not have the form, or its branches are already merged.
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
    """Return the forms that a network can have, according to the types of its modules."""
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt):
        return forms.of(forms.REPNEXT)
    return forms.of(forms.MERGING if can_merge(model) else forms.PLAIN)


def can_merge(model: nn.Module) -> bool:
    """Whether `fuse()` of this package, or timm's `reparameterize_model`, changes a module."""
    from bench.models.replknet import RepLKNet

    return isinstance(model, RepLKNet) or _has_method(model, MERGE_METHODS)


def replace(module: nn.Module, method: str) -> None:
    """Replace every outermost child that has `method` by the result of the method, in place."""
    for name, child in module.named_children():
        make = getattr(child, method, None)
        if make is None:
            replace(child, method)
        else:
            setattr(module, name, make())


def _has_method(model: nn.Module, methods: tuple[str, ...]) -> bool:
    return any(hasattr(module, name) for module in model.modules() for name in methods)


def _is_merged(model: nn.Module, form: str) -> bool:
    """Whether `form` can no longer be made: RepNeXt then has no blocks, others no BatchNorm."""
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt) and not forms.find(form).is_built:
        return not _has_method(model, forms.BLOCK_STEPS)
    return not _has_batchnorm(model)


def _has_batchnorm(model: nn.Module) -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(module, _BatchNorm) for module in model.modules())


def _merge(model: nn.Module) -> nn.Module:
    """Merge branches and fold BatchNorms; changes `model` in place and returns the result.

    RepNeXt and RepLKNet have `fuse()`; for other networks, timm merges the branches.
    """
    from torch import nn

    from bench.models.fold import fold_batchnorms
    from bench.models.replknet import RepLKNet
    from bench.models.repnext import RepNeXt

    if isinstance(model, (RepNeXt, RepLKNet)):
        replace(model, forms.FUSE)
        return model
    parent = nn.Sequential(model)  # the network itself may be a block that timm replaces
    _merge_by_timm(parent)
    if _has_batchnorm(parent):
        fold_batchnorms(parent)
    return parent[0]


def _merge_by_timm(module: nn.Module) -> None:
    """Merge the branches of each block by timm's `reparameterize_model`, in float64, in place."""
    from timm.utils.model import reparameterize_model
    from torch import nn

    for name, child in module.named_children():
        if any(hasattr(child, method) for method in MERGE_METHODS):
            dtype = next(child.parameters()).dtype
            parent = nn.Sequential(child.double())  # timm replaces a block in its parent
            reparameterize_model(parent, inplace=True)
            setattr(module, name, parent[0].to(dtype))
        else:
            _merge_by_timm(child)

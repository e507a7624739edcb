"""Make one form of a network from another. Importing this file imports no torch."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import UsageError
from bench.models import forms

if TYPE_CHECKING:
    from torch import Tensor, nn


class Fused(NamedTuple):
    """A network in another form, and sentences on what could not be merged in it."""

    network: nn.Module
    notes: list[str]


def fuse(model: nn.Module, form: str, example: Sequence[Tensor] = ()) -> nn.Module:
    """Return a copy of `model` in another form; `model` itself does not change.

    `rrep` folds BatchNorms, W' = W * gamma / sqrt(var + eps) and
    b' = beta + (b - mean) * gamma / sqrt(var + eps), and merges parallel branches (Section 3.1).
    `deploy` merges the branches alone, as the official code of RepLKNet and RepGhost does.
    `srep` also removes the shortcuts (Section 3.2). Folds are computed in float64, on the device
    of the weights, and cast back to the type of the weights.

    `srep` and `rrep_fc` can be made from `train` or from `rrep`, and `rrep` also from `deploy`.
    `srep-rrep-rrep-rrep` has `srep` in the first of the four stages of a RepNeXt.

    In a network from elsewhere, `rrep` merges what can be merged; see `fuse_with_notes`.

    Args:
        model: the network; for exact results, in eval mode.
        form: a form that the network has; see `forms_of`.
        example: inputs, so that `model(*example)` runs; used for a network that `torch.fx` cannot
            trace.

    Raises:
        UsageError: if the network does not have the form, its branches are already merged, or
            nothing in it can be merged.
    """
    return fuse_with_notes(model, form, example).network


def fuse_with_notes(model: nn.Module, form: str, example: Sequence[Tensor] = ()) -> Fused:
    """Return what `fuse` returns, and say which blocks and BatchNorms remain, and why."""
    has = forms_of(model)
    if not forms.has(has, form):
        raise UsageError(
            f"this {type(model).__name__} has no form {form!r}", f"It has: {forms.choice(has)}."
        )
    if form != forms.ONLY and _is_merged(model, form):
        raise _already_merged(form)
    fused = Fused(copy.deepcopy(model), [])
    for step in forms.find(form).steps:
        if step not in (forms.MERGE, forms.FUSE) or _is_ours(model):
            replace(fused.network, step)
        else:
            fused = _merge(fused.network, form, example)
    if forms.is_mixture(form):
        for number, own in enumerate(forms.by_stage(form), 1):
            for step in forms.find(own).steps[1:]:
                replace(fused.network.get_submodule(f"stage{number}"), step)
    return fused


def forms_of(model: nn.Module) -> tuple[str, ...]:
    """Return the forms that a network can have, according to the types of its modules."""
    from bench.models.replknet import RepLKNet
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt):
        return forms.of(forms.REPNEXT)
    repghost = sys.modules.get("timm.models.repghost")  # otherwise no network can be of its type
    if isinstance(model, RepLKNet) or (repghost and isinstance(model, repghost.RepGhostNet)):
        return forms.of(forms.KEEPING)
    return forms.of(forms.MERGING if can_merge(model) else forms.PLAIN)


def can_merge(model: nn.Module) -> bool:
    """Whether a module has a method that merges it, such as `fuse()` or `reparameterize()`."""
    from bench.models import blocks

    return _is_ours(model) or blocks.can_merge(model)


def replace(module: nn.Module, method: str) -> None:
    """Replace every outermost child that has `method` by the result of the method, in place."""
    for name, child in module.named_children():
        make = getattr(child, method, None)
        if make is None:
            replace(child, method)
        else:
            setattr(module, name, make())


def _already_merged(form: str) -> UsageError:
    return UsageError(
        f"the branches of this network are already merged: it cannot become {form!r}",
        "Fuse from its train form.",
    )


def _is_ours(model: nn.Module) -> bool:
    """Whether each module that can be merged has a `fuse()` that returns a plain layer."""
    from bench.models.replknet import RepLKNet
    from bench.models.repnext import RepNeXt

    return isinstance(model, (RepNeXt, RepLKNet))


def _is_merged(model: nn.Module, form: str) -> bool:
    """Whether `form` can no longer be made.

    RepNeXt then has a stage without blocks, and RepLKNet has no BatchNorm, or no branches for MERGE
    to merge.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt) and not forms.find(form).is_built:
        stages = [part for name, part in model.named_children() if name.startswith("stage")]
        return not all(map(_has_blocks, stages or [model]))
    if not _is_ours(model):
        return False
    if forms.MERGE in forms.find(form).steps:
        return not any(hasattr(module, forms.MERGE) for module in model.modules())
    return not any(isinstance(module, _BatchNorm) for module in model.modules())


def _has_blocks(part: nn.Module) -> bool:
    """Whether a part of a RepNeXt has blocks that can get another form."""
    return any(hasattr(each, step) for each in part.modules() for step in forms.BLOCK_STEPS)


def _merge(model: nn.Module, form: str, example: Sequence[Tensor]) -> Fused:
    """Merge the blocks of a network from elsewhere; changes `model`.

    If FUSE is a step of `form`, fold its BatchNorms too.
    """
    from bench.models.blocks import merge_blocks
    from bench.models.fold import Folded, fold_batchnorms

    folds = forms.FUSE in forms.find(form).steps
    merged = merge_blocks(model)
    folded = fold_batchnorms(merged.network, example) if folds else Folded(0, [])
    notes = [*merged.notes, *folded.notes]
    if merged.blocks or folded.total:
        return Fused(merged.network, notes)
    if not notes:
        raise _already_merged(form)
    raise UsageError(f"nothing in this {type(model).__name__} can be merged", " ".join(notes))

"""Networks by name, and their re-parameterised forms: `build` and `fuse`.

Importing this package imports no torch; building does.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bench.models import user, zoo
from bench.records import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["build", "fuse"]

MERGE_METHODS = ("fuse", "reparameterize", "switch_to_deploy")  # ours and timm's
SEEN_RESOLUTION = 160  # at 64 statistics are far from those at 224, and the error grows by layers
SMALL_SCALE = 1e-3  # a parameter of one dimension below it is a LayerScale as it is made
LAST_STEP = {"rrep_fc": "with_linear", "srep": "without_shortcut"}


def build(
    name: str,
    form: str | None = None,
    *,
    resolution: int = 224,
    seed: int = 0,
    num_classes: int = 1000,
    source: Source | None = None,
) -> nn.Module:
    """Build a network with random weights; nothing is ever downloaded.

    All weights, the scales of residual branches and the statistics of BatchNorm too, are drawn
    from `seed`, so that the forms of one model with one seed compute the same function, and
    whatever part of it is wrong shows in the output. The global random state is left as it was.

    Args:
        name: a name of `bench.models.zoo.ZOO` or `timm/<name>`.
        form: one of the model's forms; None is its first.
        resolution: height and width in pixels of the images (N, 3, H, W) it will be given.
        seed: of the weights.
        num_classes: width of its output (N, num_classes).
        source: of a model of the user's own, which then stands for `name`, or of its weights.

    Returns:
        The network in eval mode, float32, on the CPU.

    Raises:
        UsageError: for a name or form that there is not.
    """
    import torch

    source = source or Source()
    spec = None if source.factory else zoo.find(source.zoo or name)
    if spec and form:
        zoo.check_form(spec, form)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _first_form(spec, resolution, num_classes) if spec else user.build(source)
        _settle(model, resolution, ours=spec is not None)
    if source.weights:
        user.load_weights(model, source)
    model.float().eval()
    return model if form in (None, _forms(model)[0]) else fuse(model, form)


def fuse(model: nn.Module, form: str) -> nn.Module:
    """Return `model` in another form (Sections 3.1 and 3.2); `model` itself is left untouched.

    Computes in float64 and casts back, on the device of the weights. `model` may be of any form
    that still has what is to be merged: `srep` can be made of `train` or of `rrep`.

    Raises:
        UsageError: where the network has no such form, or its branches are already gone.
    """
    import copy

    from bench.errors import UsageError
    from bench.models.repnext import RepNeXt

    forms = _forms(model)
    if form not in forms:
        raise UsageError(
            f"this {type(model).__name__} has no form {form!r}", f"It has: {', '.join(forms)}."
        )
    is_merged = not _has_batchnorm(model)
    if isinstance(model, RepNeXt) and form != "train":
        is_merged = not any(hasattr(module, "without_shortcut") for module in model.modules())
    if is_merged and form != "plain":
        raise UsageError(
            f"the branches of this network are already merged: it cannot become {form!r}",
            "Fuse from its train form.",
        )
    fused = copy.deepcopy(model)
    if form in ("plain", "train"):
        return fused
    fused = _merge(fused)
    if form in LAST_STEP:
        _replace(fused, LAST_STEP[form])
    return fused


def _forms(model: nn.Module) -> tuple[str, ...]:
    """The forms that a network can be in, by what it is made of."""
    from bench.models.replknet import RepLKNet
    from bench.models.repnext import RepNeXt

    if isinstance(model, RepNeXt):
        return zoo.BRANCHED
    if isinstance(model, RepLKNet):
        return zoo.MERGED
    merges = any(hasattr(module, name) for module in model.modules() for name in MERGE_METHODS)
    return zoo.MERGED if merges else zoo.PLAIN


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
        _replace(model, "fuse")
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


def _replace(module: nn.Module, method: str) -> None:
    """Replace every outermost child that has `method` by what that returns."""
    for name, child in module.named_children():
        make = getattr(child, method, None)
        if make is None:
            _replace(child, method)
        else:
            setattr(module, name, make())


def _first_form(spec: zoo.Spec, resolution: int, num_classes: int) -> nn.Module:
    if spec.maker == "timm":
        return _from_timm(spec, resolution, num_classes)
    if spec.maker == "replknet":
        from bench.models.replknet import replknet_31b

        return replknet_31b(num_classes)
    if spec.maker == "repnext":
        from bench.models.repnext import repnext

        unit, size = spec.variant.split("_")
        return repnext(unit, size, num_classes)
    from bench.models import ablation

    step = {"lc2pwconv": ablation.lc2pwconv, "ln2bn": ablation.ln2bn}[spec.maker]
    return step(spec.variant, num_classes)


def _from_timm(spec: zoo.Spec, resolution: int, num_classes: int) -> nn.Module:
    import timm

    named_by_user = spec.name.startswith(zoo.TIMM_PREFIX)
    if named_by_user and spec.variant not in {*timm.list_models(), *timm.list_pretrained()}:
        zoo.timm_forms([spec.variant])  # refuses, and says which are near
    config = timm.get_pretrained_cfg(spec.variant.split(".")[0], allow_unregistered=True)
    is_sized = config is not None and config.fixed_input_size
    sized: dict[str, Any] = {"img_size": resolution} if is_sized else {}
    model: nn.Module = timm.create_model(
        spec.variant, pretrained=False, num_classes=num_classes, **sized
    )
    return model


def _settle(model: nn.Module, resolution: int, *, ours: bool) -> None:
    """Make a fresh network depend on its image in all its parts, as a trained one does.

    As they come, scales of residual branches are zero or next to it, and statistics of BatchNorm
    fit nothing: then whole layers may be wrong and the output is the same. Scales are drawn, and
    the statistics are those of random images, varied a little. Of a user's network only BatchNorms
    that are as they were made are touched: the rest may be trained.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    if any(parameter.is_meta for parameter in model.parameters()):
        return
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_fresh(m)]
    with torch.no_grad():
        for parameter in model.parameters() if ours else ():
            if parameter.dim() == 1 and 0 < float(parameter.abs().max()) < SMALL_SCALE:
                parameter.uniform_(0.1, 0.3)
        for norm in norms:
            if norm.affine:
                drawn = torch.empty_like(norm.weight).uniform_(0.75, 1.25)
                norm.weight.copy_(torch.where(norm.weight == 0, 0.2 * drawn, norm.weight * drawn))
                norm.bias.add_(torch.empty_like(norm.bias).normal_(0, 0.1))
        hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
        try:
            if norms:
                _see_images(model.eval(), resolution)
        finally:
            for hook in hooks:
                hook.remove()


def _see_images(model: nn.Module, resolution: int) -> None:
    """Run on two random images; not on larger ones than needed, if the network takes smaller."""
    import torch

    for images, size in ((2, min(resolution, SEEN_RESOLUTION)), (2, resolution)):
        with contextlib.suppress(RuntimeError, AssertionError, ValueError):
            model(torch.randn(images, 3, size, size))
            return
    model(torch.randn(1, 3, resolution, resolution))


def _take_statistics(norm: Any, arguments: tuple[Tensor]) -> None:
    """Before a BatchNorm runs: give it the statistics of its input (N, C, ...), varied a little."""
    import torch

    channels = arguments[0].transpose(0, 1).flatten(1)
    variance = channels.var(1, correction=0)
    floor = 0.1 * variance.mean() + norm.eps  # of so few images some channel may hardly vary
    variance = torch.maximum(variance, floor)
    shift = 0.1 * variance.sqrt() * torch.randn_like(variance)
    norm.running_mean.copy_(channels.mean(1) + shift)
    norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.75, 1.25))


def _is_fresh(norm: Any) -> bool:
    """Whether the statistics of a BatchNorm are those that it was made with."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all() and (variance == 1).all())

"""Build a network by its name, with random weights. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.models import user, zoo
from bench.models.copies import in_eval_mode
from bench.models.dtypes import cast
from bench.models.fuse import forms_of, fuse
from bench.records import Source

if TYPE_CHECKING:
    from torch import nn


def build(
    name: str,
    form: str | None = None,
    *,
    resolution: int = 224,
    seed: int = 0,
    num_classes: int = 1000,
    source: Source | None = None,
    after_code: Callable[[], object] = tuple,
) -> nn.Module:
    """Build a network with random weights; downloads nothing.

    `seed` determines all weights, the scales of residual branches and the statistics of the
    BatchNorms. So all forms of a model with the same seed compute the same function. An error in
    any part of the network changes the output (see `initialise`). The global random state does
    not change.

    Args:
        name: a key of `bench.models.zoo.ZOO`, or `timm/<name>`.
        form: a form of the model; None means the form that is built.
        resolution: height and width in pixels of the input images (N, 3, H, W).
        seed: the seed of the random weights.
        num_classes: width of the output (N, num_classes).
        source: a user's model, which replaces `name`, or a file of weights.
        after_code: is called when the code of the network has built it, before it runs.

    Returns:
        The network in eval mode, in float32, on the CPU. Tensors of other types than float32,
        float16 and bfloat16 keep their type.

    Raises:
        UsageError: if the name or the form is unknown.
    """
    source = source or Source()
    spec = None if source.factory else zoo.find(source.zoo or name)
    if spec and form:
        zoo.check_form(spec, form)
    model = _as_built(spec, source, resolution, seed, num_classes, after_code)
    if source.weights:
        user.load_weights(model, source)
    return model if form in (None, forms_of(model)[0]) else fuse(model, form)


def _as_built(
    spec: zoo.Spec | None,
    source: Source,
    resolution: int,
    seed: int,
    num_classes: int,
    after_code: Callable[[], object],
) -> nn.Module:
    """Return the network in the form that is built; its weights depend only on `seed`."""
    import torch

    from bench.models.initialise import initialise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _make(spec, resolution, num_classes) if spec else user.build(source)
        after_code()
        model = in_eval_mode(cast(model, torch.float32, "cpu"))
        initialise(model, resolution, draw_scales=spec is not None)
    return model


def _make(spec: zoo.Spec, resolution: int, num_classes: int) -> nn.Module:
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
        zoo.timm_forms([spec.variant])  # raises UsageError with similar names
    config = timm.get_pretrained_cfg(spec.variant.split(".")[0], allow_unregistered=True)
    is_sized = config is not None and config.fixed_input_size
    sized: dict[str, Any] = {"img_size": resolution} if is_sized else {}
    model: nn.Module = timm.create_model(
        spec.variant, pretrained=False, num_classes=num_classes, **sized
    )
    return model

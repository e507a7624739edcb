"""Build a network by its name, with random weights. Importing this file imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.devices.installation import how_to_install
from bench.errors import UnavailableError
from bench.models import forms, user, zoo
from bench.models.copies import in_eval_mode
from bench.models.dtypes import cast
from bench.models.fuse import forms_of, fuse
from bench.models.user import fit
from bench.records import Source
from bench.text import brief

if TYPE_CHECKING:
    from torch import nn

    from bench.models.initialise import Inputs


def build(
    name: str,
    form: str | None = None,
    *,
    resolution: int = 224,
    seed: int = 0,
    num_classes: int = 1000,
    source: Source | None = None,
    inputs: Inputs | None = None,
    after_code: Callable[[], object] = tuple,
) -> nn.Module:
    """Build a network with random weights; downloads nothing.

    All forms of a model with the same `seed` compute the same function. An error in any part of it
    changes the output (see `initialise`). The global random state does not change.

    Args:
        name: a key of `bench.models.zoo.ZOO`, or `timm/<name>`.
        form: a form of the model; None means the form that is built.
        resolution: height and width in pixels of the input images (N, 3, H, W).
        seed: of the random weights, scales of branches and statistics of BatchNorms.
        num_classes: width of the output (N, num_classes).
        source: a user's model, which replaces `name`, or weights for a network of the zoo.
        inputs: see `initialise`; None means random images (N, 3, resolution, resolution).
        after_code: is called when the code of the network has built it, before it runs.

    Returns:
        The network in eval mode, in float32, on the CPU. Tensors of other types than float32,
        float16 and bfloat16 keep their type.

    Raises:
        UsageError: if the name or the form is unknown, if the code of the user makes no network,
            or if the weights do not fit the network.
    """
    source = source or Source()
    spec = None if source.factory else zoo.find(source.zoo or name)
    if spec and form:
        zoo.check_form(spec, form)
    model = _as_built(spec, source, resolution, seed, num_classes, inputs, after_code)
    return model if form is None or _is_built(model, form, source) else fuse(model, form)


def _is_built(model: nn.Module, form: str, source: Source) -> bool:
    """Return whether `form` is a name of the form that was built; the user's code has two."""
    return form == forms_of(model)[0] or (bool(source.factory) and forms.find(form).is_built)


def _as_built(
    spec: zoo.Spec | None,
    source: Source,
    resolution: int,
    seed: int,
    num_classes: int,
    inputs: Inputs | None,
    after_code: Callable[[], object],
) -> nn.Module:
    """Return the network in the form that is built; its weights depend only on `seed`."""
    import torch

    from bench.models.initialise import initialise, random_images

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if source.weights:
            model = load_weights(source, resolution, num_classes).model
        else:
            model = make(spec, resolution, num_classes) if spec else user.build(source)
        after_code()
        model = in_eval_mode(cast(model, torch.float32, "cpu"))
        if not source.weights:
            initialise(model, resolution, inputs or random_images, draw_scales=spec is not None)
    return model


class Loaded(NamedTuple):
    """A network with its weights, the channels of its input, and sentences about the weights."""

    model: nn.Module
    channels: int
    notes: list[str]


def load_weights(source: Source, resolution: int = 224, num_classes: int = 1000) -> Loaded:
    """Build the network of a source with its weights, as it is trained.

    For a network of the zoo, the weights say how many classes and channels it has. Raises
    UsageError if the file is no checkpoint, or if its weights do not fit the network. Raises
    RuntimeError if the file has changed since the run began, or changes while it is read.
    """
    import torch

    weights, channels = user.read_weights(source), fit.RGB
    if source.factory:
        model = user.build(source)
    else:
        spec = zoo.find(source.zoo)
        with torch.device("meta"):  # no memory is needed to compare names and shapes
            draft = make(spec, resolution, num_classes)
        named = fit.fit(weights, draft, Path(source.weights).name)
        told = fit.sizes(named.tensors, draft, num_classes)
        channels = told.channels
        model = make(spec, resolution, told.classes)
        fit.set_channels(model, told.stems, channels)
    tensors, notes = fit.fit(weights, model, Path(source.weights).name)
    fit.check(tensors, model, source)
    model.load_state_dict(tensors)  # reads a mapped file
    user.check_unchanged(source)
    return Loaded(model, channels, notes)


def make(
    spec: zoo.Spec, resolution: int, num_classes: int, drop_path: float | None = None
) -> nn.Module:
    """Return a network as its constructor makes it.

    `drop_path` is the rate of stochastic depth of a network of timm that has it; None is timm's.
    """
    if spec.maker == "timm":
        return _from_timm(spec, resolution, num_classes, drop_path)
    if spec.maker == "replknet":
        from bench.models.replknet import replknet_31b

        return replknet_31b(num_classes)
    if spec.maker == "repnext":
        from bench.models.repnext import repnext

        unit, size = spec.variant.split("_")
        return repnext(unit, size, num_classes)
    _import_timm()
    from bench.models import ablation

    step = {"lc2pwconv": ablation.lc2pwconv, "ln2bn": ablation.ln2bn}[spec.maker]
    return step(spec.variant, num_classes)


def _import_timm() -> Any:
    """Return timm. Raises UnavailableError with the commands that install what is missing."""
    try:
        import timm
    except Exception as error:  # a torchvision for another torch raises any type
        raise UnavailableError(
            f"timm cannot be imported: {brief(error)}",
            f"Run: {how_to_install('torchvision', 'timm')}",
        ) from error
    return timm


def _from_timm(
    spec: zoo.Spec, resolution: int, num_classes: int, drop_path: float | None
) -> nn.Module:
    timm = _import_timm()
    named_by_user = spec.name.startswith(zoo.TIMM_PREFIX)
    if named_by_user and spec.variant not in {*timm.list_models(), *timm.list_pretrained()}:
        zoo.timm_forms([spec.variant])  # raises UsageError with similar names
    config = timm.get_pretrained_cfg(spec.variant.split(".")[0], allow_unregistered=True)
    is_sized = config is not None and config.fixed_input_size
    given: dict[str, Any] = {"img_size": resolution} if is_sized else {}
    given |= {"pretrained": False, "num_classes": num_classes}
    if drop_path is not None:
        with contextlib.suppress(TypeError):  # of a network without stochastic depth
            deep: nn.Module = timm.create_model(spec.variant, drop_path_rate=drop_path, **given)
            return deep
    plain: nn.Module = timm.create_model(spec.variant, **given)
    return plain

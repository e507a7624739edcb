"""The network of a training: with the weights of its constructor, and with stochastic depth."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import BenchError, UsageError
from bench.harness.worker.outputs import tensors_of
from bench.models import forms, user, zoo
from bench.models.build import make
from bench.models.fuse import fuse
from bench.models.repnext import LinearBlock, RepNeXtBlock
from bench.records import Source
from bench.text import brief
from bench.training import seeds

BLOCKS = (RepNeXtBlock, LinearBlock)


class Named(NamedTuple):
    """A network by its name: where its code is, and the form that is trained."""

    name: str
    form: str
    source: Source


def named(entry: str) -> Named:
    """Return the network of `--model`. Raises UsageError for an unknown one."""
    name, _, form = user.split_form(entry)
    own = user.resolve(name)
    if own:
        return Named(own.name, form or forms.ONLY, own.source)
    spec = zoo.find(name)
    if form:
        zoo.check_form(spec, form)
    return Named(name, form or spec.forms[0], Source())


def untrained(of: Named, classes: int, resolution: int, seed: int, drop_path: float) -> nn.Module:
    """Build a network in training mode, with the weights that its constructor draws by `seed`.

    `drop_path` is the largest rate of stochastic depth: that of the last block. Raises UsageError
    where the network cannot be built, or has nothing to train.
    """
    seeds.seed_all(seed, "weights")
    try:
        if of.source.factory:
            net = user.build(of.source)
        else:
            net = make(zoo.find(of.name), resolution, classes, drop_path)
        if not forms.find(of.form).is_built:
            net = fuse(net.eval(), of.form)
    except BenchError:
        raise
    except Exception as error:  # the code of a network may raise anything
        raise UsageError(
            f"{of.name} cannot be built: {brief(error)}", "Repair the network."
        ) from error
    if not any(each.requires_grad for each in net.parameters()):
        raise UsageError(f"{of.name} has no weights to train", "Set requires_grad on them.")
    _drop_blocks(net, drop_path)
    return net.train()


def has_stochastic_depth(net: nn.Module) -> bool:
    """Whether a part of the network is left out at random while it is trained."""
    return any(isinstance(each, BLOCKS) or getattr(each, "drop_prob", 0) for each in net.modules())


def identified(of: Named) -> str:
    """Return the name of a network that was built; that of the user's has a hash of its code."""
    if not of.source.factory:
        return of.name
    known = dict(of.source.files) | user.imported_files(of.source)
    return user.identified(user.UserModel(of.name, of.source), known).name


def check(net: nn.Module, resolution: int, classes: int) -> None:
    """Raise UsageError unless the first output of `net` for two images is (2, classes).

    A copy is called, in training mode and in eval mode.
    """
    shapes = set()
    try:
        images = torch.randn(2, 3, resolution, resolution)
        with torch.no_grad():
            for is_training in (True, False):
                found = tensors_of(copy.deepcopy(net).train(is_training)(images))
                shapes.add(tuple(found[0].shape) if found else ())
    except Exception as error:  # the code of a network may raise anything
        size = f"{resolution} x {resolution} pixels"
        raise UsageError(
            f"the network does not take images of {size}: {brief(error)}",
            "Use another --resolution, or repair the network.",
        ) from error
    shape = min(shapes, key=lambda each: each == (2, classes))
    if shape != (2, classes):
        raise UsageError(
            f"the data has {classes} classes, and the output of the network has the shape {shape}",
            "Let the network return logits of shape (images, classes) for these classes.",
        )


def _drop_blocks(net: nn.Module, largest: float) -> None:
    """Give each block of a RepNeXt a rate of stochastic depth, which rises with the depth."""
    blocks = [each for each in net.modules() if isinstance(each, BLOCKS)]
    for place, block in enumerate(blocks):
        rate = largest * place / max(len(blocks) - 1, 1)
        block.pw2.register_forward_hook(_Drop(rate))


class _Drop:
    """A hook that leaves out the output of a module for some images, while it is trained."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, module: nn.Module, given: Any, output: Tensor) -> Tensor:
        from timm.layers.drop import drop_path

        dropped: Tensor = drop_path(output, self._rate, module.training)
        return dropped

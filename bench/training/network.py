"""The network of a training: with the weights of its constructor, and with stochastic depth."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.models import forms, user, zoo
from bench.models.build import make
from bench.models.fuse import fuse
from bench.models.repnext import RepNeXtBlock
from bench.records import Source


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
        return Named(own.code, form or forms.ONLY, own.source)
    spec = zoo.find(name)
    if form:
        zoo.check_form(spec, form)
    return Named(name, form or spec.forms[0], Source())


def untrained(of: Named, classes: int, resolution: int, seed: int, drop_path: float) -> nn.Module:
    """Build a network in training mode, with the weights that its constructor draws by `seed`.

    `drop_path` is the largest rate of stochastic depth: that of the last block. Raises UsageError
    where the network has another number of classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if of.source.factory:
            net = user.build(of.source)
        else:
            net = make(zoo.find(of.name), resolution, classes, drop_path)
    if not forms.find(of.form).is_built:
        net = fuse(net.eval(), of.form)
    _drop_blocks(net, drop_path)
    return net.train()


def check_classes(net: nn.Module, images: Tensor, classes: int) -> None:
    """Raise UsageError unless the first output of `net` is (images, classes)."""
    from bench.harness.worker.outputs import tensors_of

    was_training = net.training
    with torch.no_grad():
        found = tensors_of(net.eval()(images))
    net.train(was_training)
    shape = tuple(found[0].shape) if found else ()
    if shape != (len(images), classes):
        raise UsageError(
            f"the data has {classes} classes, and the output of the network has the shape {shape}",
            "Let the network return logits of shape (images, classes) for these classes.",
        )


def _drop_blocks(net: nn.Module, largest: float) -> None:
    """Give each block of a RepNeXt a rate of stochastic depth, which rises with the depth."""
    blocks = [each for each in net.modules() if isinstance(each, RepNeXtBlock)]
    for place, block in enumerate(blocks):
        rate = largest * place / max(len(blocks) - 1, 1)
        block.pw2.register_forward_hook(_Drop(rate))


class _Drop:
    """A hook that leaves out the output of a module for some images, while it is trained."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, module: nn.Module, given: Any, output: Tensor) -> Tensor:
        from timm.layers import drop_path

        return drop_path(output, self._rate, module.training)

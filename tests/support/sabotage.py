"""Faults that a wrong merge would cause, and their effect on the output of a network."""

import contextlib
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.harness.worker.check import _largest_error

UNCERTAIN = 1e-4  # a smaller effect in float32 is measured again in float64
ROUNDING = 1e-9  # in float64, a fault with a smaller effect changes nothing: the key of a softmax


class Fault(NamedTuple):
    """A fault in one BatchNorm; `effect` is relative to the spread between two images."""

    effect: float
    kind: str
    layer: str


def drop_mean(norm):
    norm.running_mean.zero_()


def make_zero(norm):
    norm.weight.zero_()
    norm.bias.zero_()


def make_identity(norm):
    norm.weight.fill_(1)
    norm.bias.zero_()
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)


def drop_bias(layer):
    layer.bias.zero_()


def zero_all(layer):
    for each in layer.parameters():
        each.zero_()


def skip(layer):
    layer.forward = lambda images: images


KINDS = {"mean dropped": drop_mean, "zero": make_zero, "identity": make_identity}
KINDS_OF_LINEAR = {"zero": zero_all, "bias dropped": drop_bias}
KINDS_OF_LAYER_NORM = {"missing": skip}


def norms_by_name(net):
    """Return the BatchNorms of a network by name, with their weights and statistics."""
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and module.affine and module.running_mean is not None
    }


def layers_by_name(net):
    """Return the BatchNorms, LayerNorms and linear layers of a network by name."""
    others = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.Linear))
    }
    return norms_by_name(net) | others


def kinds_of(layer):
    """Return the functions that plant a fault in such a layer, by the name of the fault."""
    if isinstance(layer, nn.LayerNorm):
        return KINDS_OF_LAYER_NORM
    if isinstance(layer, nn.Linear):
        return KINDS_OF_LINEAR if layer.bias is not None else {"zero": zero_all}
    return KINDS


@contextlib.contextmanager
def sabotaged(layer, kind):
    """Make one layer wrong for a while."""
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    try:
        kinds_of(layer)[kind](layer)
        yield
    finally:
        layer.__dict__.pop("forward", None)
        for name, value in layer.state_dict().items():
            value.copy_(before[name])


class OnZeros(nn.Module):
    """A network that does not read its input."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(torch.zeros_like(x))


class Recording:
    """One call of a network, with the output of each module, so that calls need not start anew."""

    def __init__(self, net, images):
        self._net, self._images = net, images
        self._began, self._ended, self._outputs, self._calls = {}, {}, {}, {}
        self._clock = 0
        hooks = []
        for module in net.modules():
            hooks.append(module.register_forward_pre_hook(self._begin))
            hooks.append(module.register_forward_hook(self._end))
        try:
            self.output = net(images)
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, module, arguments):
        self._clock += 1
        self._calls[module] = self._calls.get(module, 0) + 1
        self._began.setdefault(module, self._clock)

    def _end(self, module, arguments, output):
        self._clock += 1
        self._ended[module] = self._clock
        if isinstance(output, torch.Tensor):
            self._outputs[module] = output.clone()  # the next module may write into it

    def _finished(self, module, moment):
        """List the outermost modules below `module` that had ended by `moment`."""
        found = []
        for child in module.children():
            once = self._calls.get(child) == 1 and child in self._outputs
            if once and self._ended[child] < moment:
                found.append(child)
            else:
                found += self._finished(child, moment)
        return found

    @contextlib.contextmanager
    def from_(self, module):
        """Let the network skip what ran before `module`; yields a call that returns its output."""
        finished = self._finished(self._net, self._began[module])
        for each in finished:
            each.forward = lambda *_, kept=self._outputs[each], **__: kept.clone()
        try:
            yield lambda: self._net(self._images)
        finally:
            for each in finished:
                del each.forward


@torch.inference_mode()
def faults(net, images, layers=norms_by_name, wanted=lambda number, kind: True):
    """Return the faults of `net`, the smallest effect first.

    A fault of each kind is planted in each of `layers`, unless it is not `wanted` in the n-th.
    """
    recording, found = Recording(net, images), []
    for number, (name, layer) in enumerate(layers(net).items()):
        if layer not in recording._began:
            continue
        with recording.from_(layer) as call:
            for kind in filter(partial(wanted, number), kinds_of(layer)):
                with sabotaged(layer, kind):
                    effect = _largest_error([call()], [recording.output])[1]
                found.append(Fault(effect if effect == effect else float("inf"), kind, name))
    return sorted(found)


def _is_void(layer, kind):
    """Whether the fault changes nothing at all: timm starts with biases of 0."""
    return kinds_of(layer)[kind] is drop_bias and not layer.bias.any()


@torch.inference_mode()
def real_faults(exact, images, every, layers=norms_by_name):
    """Return the faults of `every` that change the function, the smallest effect first.

    `exact` is the network in float64; it measures again what float32 cannot tell from rounding.
    """
    output, found, by_name = exact(images.double()), [], layers(exact)
    for fault in every:
        effect = fault.effect
        if effect < UNCERTAIN and not _is_void(by_name[fault.layer], fault.kind):
            with sabotaged(by_name[fault.layer], fault.kind):
                effect = _largest_error([exact(images.double())], [output])[1]
        if effect > ROUNDING:
            found.append(Fault(effect, fault.kind, fault.layer))
    return sorted(found)

"""Faults that a wrong merge would cause, and their effect on the output of a network."""

import contextlib
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.harness.worker.check import _largest_error

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


KINDS = {"mean dropped": drop_mean, "zero": make_zero, "identity": make_identity}


def norms_by_name(net):
    """Return the BatchNorms of a network by name, with their weights and statistics."""
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and module.affine and module.running_mean is not None
    }


@contextlib.contextmanager
def sabotaged(norm, kind):
    """Make one BatchNorm wrong for a while."""
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    try:
        KINDS[kind](norm)
        yield
    finally:
        for name, value in norm.state_dict().items():
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
def faults(net, images):
    """Return the faults of every kind in every BatchNorm of `net`, the smallest effect first."""
    recording, found = Recording(net, images), []
    for name, norm in norms_by_name(net).items():
        if norm not in recording._began:
            continue
        with recording.from_(norm) as call:
            for kind in KINDS:
                with sabotaged(norm, kind):
                    effect = _largest_error([call()], [recording.output])[1]
                found.append(Fault(effect if effect == effect else float("inf"), kind, name))
    return sorted(found)

"""What other programs put around a network is taken off, so that the backend decides."""

import functools

import pytest
import torch
from support.networks import Doubling, module
from torch import nn

from bench.models import unwrap
from bench.models.unwrap import COMPILED, PARALLEL

compilations = []


def recording(graph, example):
    """A compiler that notes each network that it compiles."""
    compilations.append(graph)
    return graph


compiled = functools.partial(torch.compile, backend=recording)


class CompiledClass(nn.Module):
    @compiled
    def forward(self, x):
        return 2 * x


def compiled_in_place():
    net = Doubling()
    net.compile(backend=recording)
    return net


def compiled_forward():
    net = Doubling()
    net.forward = compiled(net.forward)
    return net


def inside():
    return module(lambda self, x: self.inner(x), inner=compiled(Doubling()))


WRAPPED = {
    "compiled": (lambda: compiled(Doubling()), [COMPILED]),
    "compiled in place": (compiled_in_place, [COMPILED]),
    "compiled forward": (compiled_forward, [COMPILED]),
    "compiled class": (CompiledClass, [COMPILED]),
    "compiled inside": (inside, [COMPILED]),
    "parallel": (lambda: nn.DataParallel(Doubling()), [PARALLEL]),
    "both": (lambda: compiled(nn.DataParallel(Doubling())), [COMPILED, PARALLEL]),
    "neither": (Doubling, []),
    "children that are None": (lambda: module(lambda self, x: 2 * x, none=None), []),
    "scripted": (lambda: torch.jit.script(Doubling()), []),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("kind", WRAPPED)
def test_a_network_is_called_without_its_wrappers(kind):
    make, notes = WRAPPED[kind]
    compilations.clear()
    found = unwrap.unwrap(make())
    assert found.notes == notes
    assert found.network(torch.ones(2)).tolist() == [2.0, 2.0]
    assert compilations == []
    for each in found.network.modules():
        assert not isinstance(each, nn.DataParallel)


def test_a_compiled_network_would_be_compiled_at_its_first_call():
    """So that the test above proves something."""
    compilations.clear()
    compiled(Doubling())(torch.ones(2))
    assert len(compilations) == 1

"""Wrappers of other programs around a network are taken off, and named."""

import pytest
import torch
from torch import nn

from bench.models.unwrap import COMPILED, PARALLEL, unwrap


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU())


def with_compiled_child():
    model = net()
    model[0] = torch.compile(model[0])
    return model


def compiled_in_place():
    model = net()
    model.compile()
    return model


@pytest.mark.parametrize(
    ("wrapped", "notes"),
    [
        (net, []),
        (lambda: torch.compile(net()), [COMPILED]),
        (with_compiled_child, [COMPILED]),
        (compiled_in_place, [COMPILED]),
        (lambda: nn.DataParallel(net()), [PARALLEL]),
        (lambda: torch.compile(nn.DataParallel(net())), [COMPILED, PARALLEL]),
    ],
)
def test_a_wrapper_is_taken_off_and_named(wrapped, notes):
    found = unwrap(wrapped())
    assert found.notes == notes
    assert [type(module) for module in found.network.modules()] == [
        nn.Sequential,
        nn.Linear,
        nn.ReLU,
    ]
    assert found.network._compiled_call_impl is None
    assert found.network(torch.zeros(1, 2)).shape == (1, 3)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_module_stays_as_it_is():
    scripted = torch.jit.script(net())
    assert unwrap(scripted).network is scripted

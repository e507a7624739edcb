"""A cast to a precision changes float tensors only; a built network keeps its other types."""

import pytest
import torch
from support.networks import head, made_by, module
from torch import nn

from bench.models import build
from bench.models.dtypes import cast
from bench.records import Source

KINDS = {
    "single": torch.float32,
    "sixteen": torch.float16,
    "brain": torch.bfloat16,
    "table": torch.float64,
    "spectrum": torch.cfloat,
    "integer": torch.int64,
    "truth": torch.bool,
}
REDUCIBLE = {"single", "sixteen", "brain"}


def of_every_type():
    return module(lambda self, x: x, **{k: torch.ones(2, dtype=d) for k, d in KINDS.items()})


@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_a_cast_changes_only_single_half_and_brain_floats(wanted):
    net = cast(of_every_type(), wanted)
    types = {name: tensor.dtype for name, tensor in net.named_buffers()}
    assert types == {name: wanted if name in REDUCIBLE else kind for name, kind in KINDS.items()}


def test_a_cast_keeps_the_imaginary_part_of_a_parameter():
    net = nn.Module()
    net.w = nn.Parameter(torch.complex(torch.ones(2), torch.ones(2)))
    assert cast(net, torch.float32, "cpu").w.imag.tolist() == [1.0, 1.0]


def test_a_cast_leaves_tensors_of_the_meta_device_there():
    assert cast(nn.Linear(2, 2, device="meta"), torch.float16, "cpu").weight.is_meta


def built(make):
    with made_by(make):
        return build("net.py:net", source=Source(file="net.py", factory="net"))


def test_a_built_network_keeps_double_precision():
    """A table of sines in float64, for example, would lose digits in float32."""
    table = module(lambda self, x: x, table=torch.ones(2).double())
    assert built(lambda: table).table.dtype == torch.float64


def test_a_built_network_in_half_precision_is_cast_to_float32():
    net = built(lambda: head(3).half())
    assert {each.dtype for each in net.parameters()} == {torch.float32}

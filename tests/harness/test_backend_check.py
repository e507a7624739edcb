"""The smallest planted fault fails a case in each precision, although rounding changes more."""

import copy
from functools import partial

import pytest
import torch
from support.networks import prepared
from support.paper_sweep import built, sampled
from support.sabotage import OnZeros, faults, kinds_of, layers_by_name, real_faults
from timm.models.byobnet import RepVggBlock
from torch import nn

from bench.backends import BACKENDS
from bench.devices import precision
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.devices.precision import PRECISIONS
from bench.diagnostics.hardware.steps import FAMILIES
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import Job
from bench.harness.worker import backend_check, prepare
from bench.harness.worker.check import CheckError
from bench.harness.worker.errors import kind_of
from bench.harness.worker.timing import StageClock
from bench.models.fuse import Fused
from bench.models.initialise import initialise, random_images
from bench.models.zoo import ZOO
from bench.records import Case
from bench.text import brief

SIZE = 32
FLOATING = [name for name, each in PRECISIONS.items() if not each.calibrated]
REDUCED = [name for name in FLOATING if precision.is_reduced(name)]
ON_CPU = [name for name, backend in BACKENDS.items() if backend.one_by_one]
FAULTS = ["wrong fold", "missing layer", "unread input"]
KINDS = {"wrong fold": "mean dropped", "missing layer": "identity"}


class Block(nn.Module):
    """A large path, and a small one whose faults change little."""

    def __init__(self):
        super().__init__()
        self.large = RepVggBlock(3, 8)
        self.small = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.large(x)
        return self.head(x + 5e-4 * self.small(x))


def tiny():
    torch.manual_seed(0)
    net = Block()
    initialise(net, SIZE, random_images, draw_scales=True)
    return net.eval()


def planted(net, fault):
    """Plant the fault in `net`, and return it."""
    layer = layers_by_name(net)[fault.layer]
    with torch.no_grad():
        kinds_of(layer)[fault.kind](layer)
    return net


def sabotaged(net, fault):
    """Return `net` with the fault of its kind that has the smallest effect."""
    if fault == "unread input":
        return OnZeros(net)
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    every = [each for each in faults(net, images) if each.kind == KINDS[fault]]
    return planted(net, every[0])


def plant_in_backend(monkeypatch, backend, make_wrong):
    load = BACKENDS[backend].load

    def faulty(model, example, name):
        return load(make_wrong(model.float()).to(precision.dtype(name)), example, name)

    monkeypatch.setattr(BACKENDS[backend], "load", faulty)


def plant_in_form(monkeypatch, make_wrong):
    fuse = prepare.fuse_with_notes

    def faulty(model, form, example):
        wrong = make_wrong(copy.deepcopy(model))
        if isinstance(wrong, OnZeros):
            return Fused(OnZeros(fuse(model, form, example).network), [])
        return fuse(wrong, form, example)

    monkeypatch.setattr(prepare, "fuse_with_notes", faulty)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("name", REDUCED)
def test_a_fault_of_a_backend_fails_in_each_precision(name, backend, fault, monkeypatch):
    plant_in_backend(monkeypatch, backend, partial(sabotaged, fault=fault))
    with pytest.raises(CheckError, match=f"in float32, before the weights are cast for {name}"):
        prepared(tiny, backend=backend, precision=name)


@pytest.mark.parametrize("fault", ["wrong fold", "missing layer"])
@pytest.mark.parametrize("name", REDUCED)
def test_the_check_of_the_first_output_alone_tolerates_it(name, fault, monkeypatch):
    plant_in_backend(monkeypatch, "channels_last", partial(sabotaged, fault=fault))
    monkeypatch.setattr(prepare, "check_in_float32", lambda *_: None)
    _, facts = prepared(tiny, backend="channels_last", precision=name)
    assert facts.check.largest_relative_error < facts.check.tolerance


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FLOATING)
def test_a_fault_of_a_form_fails_in_each_precision(name, fault, monkeypatch):
    plant_in_form(monkeypatch, partial(sabotaged, fault=fault))
    with pytest.raises(CheckError, match="differs from that of 'train'"):
        prepared(tiny, form="rrep", precision=name)


@pytest.mark.parametrize("name", FLOATING)
def test_a_right_backend_passes_without_a_note(name):
    _, facts = prepared(tiny, backend="channels_last", precision=name)
    assert facts.check.largest_relative_error <= facts.check.tolerance
    assert facts.notes == []


def test_switches_are_those_of_fp32_meanwhile_and_memory_is_freed(monkeypatch):
    seen, freed = [], []
    load = BACKENDS["eager"].load

    def watched(model, example, name):
        seen.append((name, precision.switches()["matmul_tf32"], len(example[0])))
        return load(model, example, name)

    monkeypatch.setattr(BACKENDS["eager"], "load", watched)
    monkeypatch.setattr(CpuSession, "free_memory", lambda self: freed.append(len(seen)))
    precision.set_switches("tf32")
    try:
        prepared(tiny, precision="tf32", batch=5)
    finally:
        precision.set_switches("fp32")
    assert seen == [("fp32", False, 2), ("tf32", True, 5)]
    assert freed == [1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "OutOfMemory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemory"),
        (RuntimeError("no such kernel"), "CheckError"),
    ],
)
def test_a_backend_that_cannot_be_checked_in_float32_fails(error, kind, monkeypatch):
    """A fault of the backend in bfloat16 would pass: the copy is the only check that sees it."""
    load = BACKENDS["channels_last"].load

    def faulty(model, example, name):
        if name == "fp32":
            raise error
        return load(planted(model.float(), smallest).bfloat16(), example, name)

    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    smallest = faults(tiny(), images)[0]
    monkeypatch.setattr(BACKENDS["channels_last"], "load", faulty)
    with pytest.raises((CheckError, MemoryError)) as raised:
        prepared(tiny, backend="channels_last", precision="bf16")
    assert kind_of(raised.value) == kind
    assert str(raised.value) == backend_check.UNCHECKED.format(brief(error))


def test_later_rounds_do_not_check_the_backend_again(monkeypatch):
    _, facts = prepared(tiny, precision="bf16")
    monkeypatch.setattr(prepare, "check_in_float32", None)
    prepared(tiny, facts, precision="bf16")


def zoo_case(network, form, backend, name):
    case = Case(network, form, backend, name, resolution=64, threads=1)
    cpu = CpuSession(Host())
    clock = StageClock(cpu.now, lambda stage: None)
    with torch.inference_mode():
        prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
def test_the_smallest_fault_of_a_network_of_each_family_fails_in_each_precision(
    network, monkeypatch
):
    net, images = built(network, 64)
    found = faults(net, images, layers_by_name, partial(sampled, 0.2))
    smallest = real_faults(copy.deepcopy(net).double(), images, found, layers_by_name)[0]
    for name in REDUCED:
        with monkeypatch.context() as patch:
            plant_in_backend(patch, "channels_last", partial(planted, fault=smallest))
            with pytest.raises(CheckError, match="in float32, before"):
                zoo_case(network, ZOO[network].forms[0], "channels_last", name)
        for form in ZOO[network].forms[1:][-1:]:
            with monkeypatch.context() as patch:
                plant_in_form(patch, partial(planted, fault=smallest))
                with pytest.raises(CheckError, match="differs from that of 'train'"):
                    zoo_case(network, form, "eager", name)

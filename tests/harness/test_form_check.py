"""The check of a form tells rounding from a wrong merge, also where float32 cannot."""

import copy

import pytest
import torch
from support.sabotage import KINDS, OnZeros, Recording, faults, norms_by_name, sabotaged
from support.zoo_sweep import study
from timm.models.byobnet import RepVggBlock
from torch import nn

from bench import models
from bench.harness.protocol.messages import CaseFacts
from bench.harness.worker import check
from bench.harness.worker.check import FORM_CEILING, FORM_TOLERANCE, CheckError
from bench.models.initialise import initialise, random_images
from bench.records import Case, Check, Cost

SIZE = 16
IMAGES = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
CASE = Case("timm/repvgg_a0", "rrep", resolution=SIZE)


class Waves(nn.Module):
    """The larger `rate`, the more the output depends on rounding."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return (self.rate * x).sin()


class InFloat32(nn.Module):
    """A layer with a data type in its code; it accepts no other one."""

    def forward(self, x):
        if x.dtype != torch.float32:
            raise RuntimeError("see /home/ada/kernels.cpp: float32 only")
        return x @ torch.eye(x.shape[-1], dtype=torch.float32)


def built(*last):
    torch.manual_seed(0)
    blocks = (RepVggBlock(3, 6), RepVggBlock(6, 6), RepVggBlock(6, 6))
    net = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5), *last)
    initialise(net, SIZE, random_images, draw_scales=True)
    return net.eval()


WELL, SENSITIVE, CHAOTIC = (), (Waves(1000.0),), (Waves(1e6),)
KNOWN = [pytest.param(WELL, id="well"), pytest.param(SENSITIVE, id="sensitive")]
EVERY = [*KNOWN, pytest.param(CHAOTIC, id="chaotic")]


@torch.inference_mode()
def checked(original, net):
    reference = check.outputs(original, [IMAGES], CASE)
    facts = CaseFacts(Check(), Cost(), "")
    return check.check_form(CASE, facts, original, net, [IMAGES], reference)


@pytest.mark.parametrize("last", EVERY)
def test_a_right_form_passes_however_much_float32_rounds(last):
    original = built(*last)
    found = checked(original, models.fuse(original, "rrep"))
    assert found.check.largest_relative_error <= found.check.tolerance <= FORM_CEILING
    assert found.notes == []


def test_the_tolerance_follows_what_float32_costs_the_network():
    tolerances = []
    for last in (WELL, SENSITIVE, CHAOTIC):
        original = built(*last)
        tolerances.append(checked(original, models.fuse(original, "rrep")).check.tolerance)
    assert tolerances[0] == FORM_TOLERANCE < tolerances[1] < tolerances[2] == FORM_CEILING


@pytest.mark.parametrize("last", EVERY)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_any_layer_is_refused(last, kind):
    original = built(*last)
    for name in norms_by_name(original):
        faulty = copy.deepcopy(original)
        with torch.no_grad():
            KINDS[kind](norms_by_name(faulty)[name])
        with pytest.raises(CheckError, match="differs from"):
            checked(original, models.fuse(faulty, "rrep"))


@pytest.mark.parametrize("last", EVERY)
def test_a_merge_that_drops_the_mean_is_refused(last, monkeypatch):
    original = built(*last)
    fuse = RepVggBlock._fuse_bn_tensor

    def without_mean(self, branch):
        kernel, bias = fuse(self, branch)
        norm = getattr(branch, "bn", branch)
        return kernel, bias + norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()

    monkeypatch.setattr(RepVggBlock, "_fuse_bn_tensor", without_mean)
    with pytest.raises(CheckError, match="differs from"):
        checked(original, models.fuse(original, "rrep"))


@pytest.mark.parametrize("last", EVERY)
def test_a_form_that_does_not_read_its_input_is_refused(last):
    original = built(*last)
    with pytest.raises(CheckError, match=r"differs from|other layers"):
        checked(original, OnZeros(models.fuse(original, "rrep")))


def test_a_wrong_weight_is_refused_although_a_merge_in_float64_is_right():
    original = built(*CHAOTIC)
    net = models.fuse(original, "rrep")
    with torch.no_grad():
        net[0].reparam_conv.weight[0, 0, 0, 0] += 1e-4
    with pytest.raises(CheckError, match="weight differs from the same merge in float64"):
        checked(original, net)


def test_a_network_that_runs_in_float32_only_is_checked_in_float32_and_says_so():
    original = built(*SENSITIVE, InFloat32())
    net = models.fuse(original, "rrep")
    found = checked(original, net)
    assert found.check.tolerance == FORM_CEILING
    (note,) = found.notes
    assert note.startswith("the form was checked in float32, because")
    assert note.endswith("RuntimeError: see kernels.cpp: float32 only")
    with pytest.raises(CheckError, match="differs from"):
        checked(original, OnZeros(net))


# The sweep of `nox -s zoo`


def test_a_replayed_call_computes_what_a_whole_call_computes():
    original = built()
    with torch.inference_mode():
        recording = Recording(original, IMAGES)
        for norm in norms_by_name(original).values():
            for kind in KINDS:
                with sabotaged(norm, kind), recording.from_(norm) as call:
                    replayed = call()
                    assert not torch.equal(replayed, recording.output)
                with sabotaged(norm, kind):
                    assert torch.equal(replayed, original(IMAGES))
        assert torch.equal(original(IMAGES), recording.output)


def test_the_sweep_tries_each_fault_of_each_layer():
    original = built()
    found = faults(original, IMAGES)
    assert len(found) == len(KINDS) * len(norms_by_name(original))
    assert found == sorted(found)
    row = study(original, SIZE)
    assert (row.wrong, row.tried, row.left) == ([], len(found), 0)
    assert row.tolerance <= row.effect / 2


@pytest.mark.parametrize(
    ("tolerance", "said"), [(0.0, "differs from"), (1e3, "input not read passes")]
)
def test_the_sweep_reports_a_check_that_is_too_strict_or_too_loose(monkeypatch, tolerance, said):
    for name in ("FORM_TOLERANCE", "FORM_CEILING", "FORM_SAFETY"):
        monkeypatch.setattr(check, name, tolerance)
    assert said in "; ".join(study(built(*SENSITIVE), SIZE).wrong)

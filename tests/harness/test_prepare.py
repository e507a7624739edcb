"""`prepare` refuses a network whose output or structure is wrong, so that it is never timed."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import nn

from bench import models
from bench.devices.cpu import CpuSession
from bench.devices.host import Host
from bench.devices.precision import PRECISIONS
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import CaseFacts, Job
from bench.harness.worker import check as check_output
from bench.harness.worker import prepare
from bench.harness.worker.check import CheckError
from bench.harness.worker.timing import StageClock
from bench.models import counter, repnext, user
from bench.records import Case, Check, Cost

BUILT: dict[tuple[str, int], nn.Module] = {}
NO_FACTS = CaseFacts(Check(), Cost(), "")
SREP = Case("repnext_u3_t", "srep", resolution=64)


class Prepared(NamedTuple):
    """A prepared network, and the facts from the check of its first output."""

    call: Callable
    facts: CaseFacts
    clock: StageClock


@pytest.fixture(autouse=True)
def built_once(monkeypatch):
    """Build each network of the zoo once: tests get copies."""
    build = models.build

    def remembered(model, *, resolution, source, **others):
        if source:
            return build(model, resolution=resolution, source=source, **others)
        if (model, resolution) not in BUILT:
            net = build(model, resolution=resolution, source=source, **others)
            BUILT[model, resolution] = net
        return copy.deepcopy(BUILT[model, resolution])

    monkeypatch.setattr(models, "build", remembered)


def prepared(case=SREP, facts=None, source=None):
    cpu = CpuSession(Host())
    clock = StageClock(cpu.now, lambda stage: None)
    with torch.inference_mode():
        subject = prepare.prepare(Job(case, 1, PRESETS["quick"], facts, source), cpu, clock)
        return Prepared(subject.call, subject.inspect(subject.call()), clock)


def test_a_fused_form_is_checked_against_the_unfused_form():
    subject = prepared()
    check = subject.facts.check
    assert check.against == "train"
    assert check.largest_relative_error < check.tolerance == check_output.FORM_TOLERANCE
    assert (subject.facts.cost.params, subject.facts.cost.macs // 10**6) == (51_547_720, 670)
    assert subject.facts.cost.weight_bytes == 4 * subject.facts.cost.params
    assert all(
        getattr(subject.clock.stages, stage) > 0 for stage in ("build", "fuse", "load", "check")
    )


BLOCKS = 3 + 3 + 9 + 3


@pytest.mark.parametrize(
    ("model", "form", "convolutions", "normalisations", "additions", "concatenations"),
    [
        # Stem, three downsamplings, and per block three branches and two 1x1; BN after the stem
        # and each branch, before each downsampling and the classifier; two additions of branches.
        ("repnext_u3_t", "train", 4 + 5 * BLOCKS, 5 + 3 * BLOCKS, 3 * BLOCKS, 0),
        ("repnext_u1_t", "train", 4 + 5 * BLOCKS, 5 + BLOCKS, BLOCKS, BLOCKS),
        ("repnext_u3_t", "rrep", 4 + 3 * BLOCKS, 0, BLOCKS, 0),
        ("repnext_u3_t", "rrep_fc", 4 + BLOCKS, 0, BLOCKS, 0),
        ("repnext_u3_t", "srep", 4 + 3 * BLOCKS, 0, 0, 0),
    ],
)
def test_the_passport_counts_the_operators_of_one_image(
    model, form, convolutions, normalisations, additions, concatenations
):
    passport = prepared(Case(model, form, resolution=32)).facts.passport
    assert passport.convolutions == convolutions
    assert passport.normalisations == normalisations
    assert passport.additions == additions
    assert passport.concatenations == concatenations


def test_the_passport_has_the_share_of_zeros_and_the_error_of_a_fusion():
    passport = prepared().facts.passport
    assert passport.params_before == 28_655_272
    assert passport.params_after == 51_547_720
    assert 0.4 < passport.zero_share < 0.5
    assert 0 < passport.largest_relative_error < 2e-5
    assert passport.largest_absolute_error > 0
    train = prepared(Case("repnext_u3_t", "train", resolution=32)).facts.passport
    assert train.macs_before == train.macs_after
    assert train.largest_relative_error is None
    assert train.zero_share < 0.01


class Branches(torch.nn.Module):
    """Asks for a value, and computes a Fourier transform, which has no formula."""

    def __init__(self, transform):
        super().__init__()
        self.stem, self.transform = torch.nn.Conv2d(3, 10, 4, 4), transform

    def forward(self, x):
        features = self.stem(x) if x.max().item() > -9 else x
        return self.transform(features).abs().mean((2, 3))


def test_a_network_that_needs_values_is_counted_or_has_a_reason(monkeypatch):
    def cost_of(transform):
        monkeypatch.setattr(prepare.models, "build", lambda *_, **__: Branches(transform).eval())
        return prepared(Case("mobilenetv3_s", "plain", resolution=32)).facts.cost

    counted, unknown = cost_of(torch.relu), cost_of(torch.fft.rfft2)
    assert (counted.macs, counted.uncounted) == (10 * 8 * 8 * 48, "")
    assert unknown.macs is None
    assert unknown.uncounted == "no formula for the multiply-accumulates of _fft_r2c"
    assert unknown.activation_bytes > 0
    assert unknown.params == counted.params == 10 * 48 + 10


def test_a_network_without_forms_has_no_passport():
    assert prepared(Case("mobilenetv3_l", "plain", resolution=32)).facts.passport is None


def test_the_output_has_one_row_per_image():
    subject = prepared(Case("repnext_u3_t", "rrep", resolution=32, batch=3))
    with torch.inference_mode():
        assert subject.call().shape == (3, 1000)


def drop_the_mean(affine_of):
    def sabotaged(norm):
        with torch.no_grad():
            norm.running_mean.zero_()
        return affine_of(norm)

    return sabotaged


def ones_for_dirac(dirac):
    return lambda *args, **kw: dirac(*args, **kw)._replace(
        weight=torch.ones_like(dirac(*args, **kw).weight)
    )


def swapped_interleaving(interleave):
    return lambda first, second: interleave(second, first)


def one_channel_off(widen):
    return lambda kernel: widen(kernel)._replace(weight=widen(kernel).weight.roll(1, 0))


@pytest.mark.parametrize(
    ("owner", "name", "sabotage"),
    [
        ("bench.models.repnext", "affine_of", drop_the_mean),
        ("bench.models.reparam", "dirac", ones_for_dirac),
        ("bench.models.reparam", "interleave", swapped_interleaving),
        ("bench.models.reparam", "widen_last_pointwise", one_channel_off),
    ],
)
def test_a_wrong_fuse_is_refused(monkeypatch, owner, name, sabotage):
    import importlib

    module = importlib.import_module(owner)
    monkeypatch.setattr(module, name, sabotage(getattr(module, name)))
    with pytest.raises(CheckError, match=r"differs from that of 'train'|not finite"):
        prepared()


def test_a_later_round_compares_its_structure_with_round_1():
    facts = prepared().facts
    assert prepared(facts=facts).facts == facts
    with pytest.raises(CheckError, match="structure"):
        prepared(Case("repnext_u3_t", "rrep", resolution=64), facts)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (torch.full((2, 10), float("nan")), "not finite"),
        (torch.full((2, 10), float("inf")), "not finite"),
        (torch.zeros(3, 10), "shape"),
        (["no tensor"], "no tensor in the output"),
    ],
)
def test_an_invalid_output_is_refused(output, said):
    with pytest.raises(CheckError, match=said):
        check_output.inspect(output, Case("resnet50", "plain", batch=2), NO_FACTS, None, 0.0)


def test_prepare_does_not_change_the_random_state():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    prepared(Case("repnext_u3_t", "train", resolution=32))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_reduced_precision_is_used_and_checked_against_fp32(precision):
    subject = prepared(Case("repnext_u3_t", "srep", precision=precision, resolution=32))
    with torch.inference_mode():
        assert subject.call().dtype == {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    check = subject.facts.check
    assert check.against == "train, fp32"
    assert 1e-3 < check.largest_relative_error < check.tolerance <= PRECISIONS[precision].tolerance
    assert subject.facts.passport.largest_relative_error < 2e-5  # of the form alone, in fp32


def test_a_reduced_precision_does_not_hide_a_wrong_form(monkeypatch):
    monkeypatch.setattr("bench.models.repnext.affine_of", drop_the_mean(repnext.affine_of))
    with pytest.raises(CheckError, match="differs from that of 'train'"):
        prepared(Case("repnext_u3_t", "srep", precision="bf16", resolution=64))


def test_channels_last_is_used_and_checked_against_eager():
    subject = prepared(Case("resnet50", "plain", "channels_last", resolution=32))
    assert subject.facts.check.against == "eager"
    assert subject.facts.check.largest_relative_error < 1e-4


def test_a_backend_with_a_wrong_output_is_refused(monkeypatch):
    def load(model, example, precision):
        return lambda: model(example[0].flip(0)) * 1.01

    monkeypatch.setattr(prepare.BACKENDS["channels_last"], "load", load)
    with pytest.raises(CheckError, match="differs from that of 'eager' by"):
        prepared(Case("resnet50", "plain", "channels_last", resolution=32))


def on_zeros(model, example):
    return lambda: model(torch.zeros_like(example[0]))


def misread_layout(model, example):
    (images,) = example
    misread = images.permute(0, 2, 3, 1).reshape(images.shape).contiguous()
    return lambda: model(misread)


def without(kind):
    def load(model, example):
        removed = []
        for name, module in list(model.named_modules()):
            if type(module).__name__ == kind:
                parent = model.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], torch.nn.Identity())
                removed.append(name)
        assert removed
        return lambda: model(*example)

    return load


def without_depthwise(model, example):
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            module.weight.zero_()
    return lambda: model(*example)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("model", "form", "sabotage"),
    [
        *[("repnext_u3_t", "srep", s) for s in (on_zeros, misread_layout, without_depthwise)],
        *[("convnext_t", "plain", s) for s in (on_zeros, without("GELU"), without_depthwise)],
        *[("resnet50", "plain", s) for s in (on_zeros, without("ReLU"))],
    ],
)
def test_faults_of_a_backend_are_detected_in_every_precision(
    monkeypatch, model, form, precision, sabotage
):
    def load(net, example, _):
        return sabotage(net, example)

    monkeypatch.setattr(prepare.BACKENDS["channels_last"], "load", load)
    case = Case(model, form, "channels_last", precision, resolution=64)
    with pytest.raises(CheckError, match=r"differs from|not finite"):
        prepared(case)


def test_tensors_of_a_cuda_graph_live_as_long_as_its_call(monkeypatch):
    import weakref

    from bench.backends import cudagraph

    alive = []

    def load(model, example, precision):
        alive.extend(weakref.ref(tensor) for tensor in (*example, next(model.parameters())))
        return cudagraph._Replay(None, None, model, example)

    monkeypatch.setattr(prepare.BACKENDS["cudagraph"], "load", load)
    case = Case("resnet50", "plain", "cudagraph", resolution=32)
    cpu = CpuSession(Host())
    with torch.inference_mode():
        clock = StageClock(cpu.now, lambda stage: None)
        subject = prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)
    assert all(each() is not None for each in alive)
    assert subject.call is not None


def test_the_first_images_of_a_batch_are_checked():
    case = Case("resnet50", "plain", "channels_last", batch=5, resolution=32)
    subject = prepared(case)
    with torch.inference_mode():
        assert len(subject.call()) == 5
    assert subject.facts.check.against == "eager"


def test_where_torch_shows_no_operators_none_are_listed(monkeypatch):
    cpu = CpuSession(Host())
    case = Case("resnet50", "plain", resolution=32)
    with torch.inference_mode():
        clock = StageClock(cpu.now, lambda stage: None)
        subject = prepare.prepare(Job(case, 1, PRESETS["quick"], None), cpu, clock)
        assert subject.operators()
        monkeypatch.setattr(counter, "visible_mode", lambda: None)
        assert subject.operators() == []


NET = """
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(channels, 4, 1)
        self.bn_a, self.bn_b, self.bn_c = (nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x):
        if x.shape[-1] % 32:
            raise ValueError("the side must be a multiple of 32")
        return self.bn_c((self.bn_a(self.a(x)) + self.bn_b(self.b(x))).relu())

    def fuse(self):
        raise NotImplementedError("in the next version")


def net():
    return nn.Sequential(
        Block(3), Block(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
"""


def test_a_network_that_cannot_be_traced_is_merged_and_says_what_remains(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    found = user.resolve("net.py:net")
    cases = [Case(found.name, form, resolution=32) for form in ("train", "rrep")]
    before, after = (prepared(case, source=found.source).facts for case in cases)
    assert before.notes == []
    assert after.notes == [
        "Not merged: 0, 1: Block.fuse() failed with NotImplementedError: in the next version.",
        "2 BatchNorms are not folded (0.bn_c, 1.bn_c), because no Conv2d comes directly before.",
    ]
    assert after.passport.normalisations == before.passport.normalisations - 4 == 2
    assert after.check.against == "train"
    later = prepared(cases[1], facts=after, source=found.source).facts
    assert later.notes == after.notes

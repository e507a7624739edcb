"""Networks with another form in each stage."""

import pytest
import torch
from support.tensors import assert_same, randn, randomise
from torch import nn

from bench import models
from bench.devices import fake
from bench.errors import UsageError
from bench.models import forms, naming, repnext, zoo
from bench.records import Case

IN_FIRST = "srep-rrep-rrep-rrep"


def tiny():
    """Return a RepNeXt with four stages of two blocks, and a few thousand weights."""
    net = repnext.RepNeXt()
    net.add_module("stem", repnext.ConvBN(nn.Conv2d(3, 5, 4, stride=4, bias=False)))
    for number in range(1, forms.STAGES + 1):
        blocks = (repnext._block(repnext.RepUnit3, 5) for _ in range(2))
        net.add_module(f"stage{number}", nn.Sequential(*blocks))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("classifier", repnext.Classifier(5, 4))
    return randomise(net).eval()


def kinds(net):
    """The class of the first block of each stage."""
    return [type(getattr(net, f"stage{number}")[0]) for number in range(1, forms.STAGES + 1)]


@pytest.mark.parametrize("source", ["train", "rrep"])
def test_each_stage_has_its_own_form_and_the_network_computes_the_same(source):
    net, x = tiny(), randn(2, 3, 32, 32)
    given = net if source == "train" else models.fuse(net, source)
    mixed = models.fuse(given, "srep-rrep_fc-rrep-srep")
    block, linear = repnext.RepNeXtBlock, repnext.LinearBlock
    assert kinds(mixed) == [nn.Sequential, linear, block, nn.Sequential]
    assert not any(isinstance(each, nn.BatchNorm2d) for each in mixed.modules())
    with torch.no_grad():
        assert_same(mixed(x), net(x))


@pytest.mark.parametrize("form", ["rrep", "srep", IN_FIRST])
def test_no_other_form_is_made_of_a_network_that_has_one_without_shortcuts(form):
    with pytest.raises(UsageError, match="already merged"):
        models.fuse(models.fuse(tiny(), IN_FIRST), form)


def test_a_mixture_has_a_title_that_commands_take():
    case = Case("repnext_u3_t", IN_FIRST)
    assert naming.title(case) == f"RepNeXt-u3-T@{IN_FIRST}"
    assert naming.by_title(naming.title(case)) == case.name
    assert naming.by_title(case.name) == case.name
    assert naming.by_title(f"net.py:net@{IN_FIRST}") == f"net.py:net@{IN_FIRST}"


def test_a_mixture_names_a_merged_form_for_each_of_four_stages():
    assert forms.by_stage(IN_FIRST) == ("srep", "rrep", "rrep", "rrep")
    assert forms.by_stage("rrep") == ("rrep",) * 4
    for name in ("plain", "train", "deploy", "srep-rrep", "train-rrep-rrep-rrep", "rrep-", ""):
        assert forms.by_stage(name) == ()
    assert forms.mixture(("srep", "rrep", "rrep", "rrep")) == IN_FIRST
    assert forms.mixture(["srep"] * 4) == "srep"


def test_only_networks_with_several_merged_forms_have_mixtures():
    having = {name for name, spec in zoo.ZOO.items() if forms.has(spec.forms, IN_FIRST)}
    assert having
    assert all(name.startswith(("repnext", "shortcut_act")) for name in having)
    assert not forms.has(zoo.ZOO["shortcut_act_t"].forms, "rrep_fc-rrep-rrep-rrep")
    assert not forms.has(zoo.ZOO["repnext_u3_t"].forms, "rrep-rrep-rrep-rrep")


@pytest.mark.parametrize("name", ["rrep-srep", "rrep-rrep-rrep-rrep", "train-rrep-rrep-rrep"])
def test_any_other_mixture_is_refused_with_an_example(name):
    for ask in (
        lambda: models.fuse(tiny(), name),
        lambda: zoo.check_form(zoo.ZOO["repnext_u3_t"], name),
    ):
        with pytest.raises(UsageError, match=f"has no form '{name}'") as caught:
            ask()
        assert f"or one for each stage, as in {IN_FIRST}" in str(caught.value)
    assert forms.choice(("train", "rrep")) == "train, rrep"


def test_a_mixture_is_shown_by_its_name():
    assert forms.find(IN_FIRST).label == IN_FIRST
    assert forms.in_order([IN_FIRST, "train"])[1].name == IN_FIRST


def test_a_simulated_mixture_takes_the_mean_time_of_its_stages():
    whole, other, mixed = (
        fake.scripted_latency(Case("net", form)) for form in ("rrep", "srep", IN_FIRST)
    )
    assert mixed == pytest.approx((3 * whole + other) / 4)

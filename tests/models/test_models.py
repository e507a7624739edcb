"""`build` and `fuse`: all forms of one seed compute the same; neither has side effects."""

import copy
import csv
import functools
import itertools
import operator
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tensors import (
    assert_same,
    assert_same_weights,
    norms_of,
    randn,
    randomise,
    relative_error,
)
from torch import fx, nn

import bench
from bench import models
from bench.errors import BAD_INPUT, UsageError
from bench.models import cost, forms, repnext, user, zoo

FORMS = ["train", "rrep", "rrep_fc", "srep"]
FUSED = FORMS[1:]
UNITS = ["u1", "u2", "u3"]
BLOCKS = 18  # of size T

ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CONCATENATIONS = {torch.cat, torch.concat, torch.stack}


@pytest.fixture
def build(monkeypatch):
    """Build "tiny", a RepNeXt-u3 with a few thousand weights; the fixture adds it to the zoo."""
    size = repnext.Size((7, 10, 12, 17), (1, 1, 2, 1))
    monkeypatch.setitem(repnext.SIZES, "tiny", size)
    spec = zoo.Spec("tiny", "Tiny", forms.of(forms.REPNEXT), "repnext", "u3_tiny")
    monkeypatch.setitem(zoo.ZOO, "tiny", spec)
    return functools.partial(models.build, "tiny", num_classes=5)


@pytest.fixture
def tiny(build):
    return randomise(build())


def images(count=2, resolution=64, dtype=torch.float64):
    return randn(count, 3, resolution, resolution).to(dtype)


# build


@pytest.mark.parametrize("form", [None, *FORMS])
def test_build_returns_eval_mode_on_the_cpu_in_float32(build, form):
    net = build(form)
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"cpu"}
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert [name for name, module in net.named_modules() if module.training] == []


def test_the_default_form_is_the_first(build):
    assert_same_weights(build(), build("train"))


@pytest.mark.parametrize("form", FORMS)
def test_weights_depend_on_the_seed_and_not_on_the_global_state(build, form):
    torch.manual_seed(1)
    first = build(form, seed=3)
    torch.manual_seed(2)
    assert_same_weights(first, build(form, seed=3))


def test_another_seed_gives_other_weights(build):
    first, second = build(seed=0).double(), build(seed=1).double()
    with torch.no_grad():
        assert relative_error(first(images()), second(images())) > 1e-2
    pairs = zip(norms_of(first), norms_of(second), strict=True)
    assert not any(torch.equal(a.running_mean, b.running_mean) for a, b in pairs)


@pytest.mark.parametrize("name", ["tiny", "timm/resnet18"])
def test_build_does_not_change_the_global_random_state(build, name):
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    models.build(name, seed=5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


@torch.no_grad()
@pytest.mark.parametrize("form", FUSED)
def test_the_forms_of_one_seed_compute_the_same(build, form):
    x = images(dtype=torch.float32)
    assert_same(build(form, seed=4)(x), build("train", seed=4)(x), tolerance=1e-5)


@pytest.mark.parametrize("name", ["tiny", "timm/resnet18"])
def test_no_batch_norm_keeps_its_initial_statistics(build, name):
    norms = norms_of(models.build(name))
    assert norms
    for norm in norms:
        assert norm.running_mean.ne(0).all()
        assert norm.running_var.ne(1).any()
        assert norm.bias.ne(0).all()
        assert norm.running_var.gt(0).all()


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_classes", [1, 7])
def test_the_output_has_one_value_per_class(build, form, num_classes):
    net = build(form, num_classes=num_classes)
    assert net(images(3, dtype=torch.float32)).shape == (3, num_classes)


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("repnext_u3", None, "repnext_u3_t"),
        ("repnext_u3_tt", "srep", "repnext_u3_t"),
        ("resnet_50", None, "resnet50"),
        ("convnet_t", None, "convnext_t"),
        ("timm/", None, "timm/<name>"),
        ("", None, "bench list models"),
        ("repnext_u3_t", "srp", "srep"),
        ("repnext_u3_t", "plain", "train, rrep, rrep_fc, srep"),
        ("repnext_u3_t", "", "train, rrep, rrep_fc, srep"),
        ("resnet50", "srep", "plain"),
        ("timm/resnet18", "train", "plain"),
    ],
)
def test_an_unknown_model_or_form_is_refused_with_valid_names(name, form, said):
    with pytest.raises(UsageError) as refused:
        models.build(name, form)
    assert said in str(refused.value)
    assert refused.value.exit_code == BAD_INPUT


def test_only_new_batch_norms_of_a_user_network_get_statistics(tmp_path):
    (tmp_path / "trained.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def net():\n"
        "    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)\n"
        "    nn.init.constant_(conv.bias, 5e-4)\n"
        "    nn.init.constant_(norm.running_mean, 0.25)\n"
        "    return nn.Sequential(conv, norm, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))\n"
    )
    found = user.resolve(f"{tmp_path / 'trained.py'}:net")
    net = models.build(found.name, resolution=16, source=found.source)
    assert float(net[0].bias.detach().mean()) == pytest.approx(5e-4)
    assert float(net[1].running_mean.mean()) == 0.25
    assert float(net[3].running_mean.abs().max()) > 0


def test_an_unknown_name_of_timm_is_refused():
    with pytest.raises(UsageError, match="no_such_net"):
        models.build("timm/no_such_net")


# Networks of timm


def reported(name):
    """Return the number of parameters in the paper, in millions, as text."""
    path = Path(bench.__file__).parent / "paper" / "data" / "reported_results.csv"
    rows = csv.DictReader(path.read_text().splitlines())
    printed = {row["params_m"] for row in rows if row["model"] == name} - {""}
    assert len(printed) == 1
    return printed.pop()


@torch.no_grad()
@pytest.mark.parametrize("name", ["mobilenetv3_l", "resnet50", "swin_t", "convnext_t"])
def test_a_network_has_the_number_of_parameters_in_the_paper(name):
    net = models.build(name)
    assert net(images(2, 224, torch.float32)).shape == (2, 1000)
    printed, params_m = reported(name), cost.count_params(net) / 1e6
    if "." in printed:  # 5.4 for MobileNetV3-L, which has 5.48
        assert params_m == pytest.approx(float(printed), abs=0.1)
    else:
        assert f"{params_m:.0f}" == printed


@torch.no_grad()
@pytest.mark.parametrize("name", ["timm/resnet18", "timm/vit_tiny_patch16_224", "swin_t"])
def test_a_network_of_timm_accepts_the_given_resolution(name):
    net = models.build(name, resolution=64, num_classes=7)
    assert not net.training
    assert net(images(3, 64, torch.float32)).shape == (3, 7)


# fuse


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_fuse_does_not_change_the_original(tiny, form):
    before, output, repr_before = copy.deepcopy(tiny), tiny(images()), repr(tiny)
    models.fuse(tiny, form)
    assert_same_weights(tiny, before)
    assert torch.equal(tiny(images()), output)
    assert repr(tiny) == repr_before


@pytest.mark.parametrize("form", FORMS)
def test_a_second_fuse_gives_the_same_result(tiny, form):
    assert_same_weights(models.fuse(tiny, form), models.fuse(tiny, form))


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_a_form_shares_neither_storage_nor_modules_with_the_original(tiny, form):
    fused = models.fuse(tiny, form)
    output = fused(images())
    storages = [
        {tensor.untyped_storage().data_ptr() for tensor in net.state_dict().values()}
        for net in (tiny, fused)
    ]
    assert storages[0].isdisjoint(storages[1])
    assert set(tiny.modules()).isdisjoint(fused.modules())
    for tensor in tiny.state_dict().values():
        tensor.zero_()
    assert torch.equal(fused(images()), output)


@pytest.mark.parametrize("form", FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fuse_computes_in_float64_and_casts_back(build, form, dtype):
    net = build().to(dtype)
    fused = models.fuse(net, form)
    assert {tensor.dtype for tensor in fused.state_dict().values()} == {dtype}
    assert_same_weights(fused, models.fuse(copy.deepcopy(net).double(), form).to(dtype))


@torch.no_grad()
@pytest.mark.parametrize("form", ["rrep", "rrep_fc", "srep"])
def test_a_form_can_be_made_from_rrep(tiny, form):
    rrep = models.fuse(tiny, "rrep")
    made = models.fuse(rrep, form)
    assert cost.structural_hash(made) == cost.structural_hash(models.fuse(tiny, form))
    assert_same(made(images()), tiny(images()))


@pytest.mark.parametrize("form", ["plain", "srp", ""])
def test_an_unknown_form_is_refused(tiny, form):
    with pytest.raises(UsageError, match="train, rrep, rrep_fc, srep"):
        models.fuse(tiny, form)


@pytest.mark.parametrize("form", FORMS)
def test_a_network_without_branches_has_only_the_plain_form(form):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match="plain"):
        models.fuse(net, form)
    assert_same_weights(models.fuse(net, "plain"), net)
    assert models.fuse(net, "plain") is not net


MERGED = [
    *[("srep", "train"), ("srep", "rrep"), ("srep", "rrep_fc")],
    *[("rrep_fc", "train"), ("rrep_fc", "rrep"), ("rrep_fc", "srep")],
    ("rrep", "train"),
]


@pytest.mark.parametrize(("given", "asked"), MERGED, ids=[" to ".join(pair) for pair in MERGED])
def test_a_merged_network_cannot_take_another_form(tiny, given, asked):
    merged = models.fuse(tiny, given)
    with pytest.raises(UsageError, match="already merged"):
        models.fuse(merged, asked)


# Whole networks of size T


@pytest.fixture(scope="module", params=UNITS)
def full(request):
    return models.build(f"repnext_{request.param}_t", resolution=64, num_classes=10)


@torch.no_grad()
def test_all_forms_agree_in_float32(full):
    x = images(dtype=torch.float32)
    expected = full(x)
    for form in FUSED:
        assert_same(models.fuse(full, form)(x), expected, tolerance=1e-5)


@torch.no_grad()
def test_all_forms_agree_in_float64_with_scales_of_both_signs(full):
    net, x = randomise(copy.deepcopy(full)), images()
    expected = net(x)
    assert any(norm.weight.lt(0).any() for norm in norms_of(net))
    for form in FUSED:
        assert_same(models.fuse(net, form)(x), expected)


@functools.cache
def on_meta(unit):
    with torch.device("meta"):
        return repnext.repnext(unit, "t").eval()


@functools.cache
def graph(unit, form):
    return fx.symbolic_trace(models.fuse(on_meta(unit), form)).graph


def count(unit, form, targets):
    return sum(node.target in targets for node in graph(unit, form).nodes)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("form", FUSED)
def test_fused_forms_have_no_batch_norm(unit, form):
    net = models.fuse(on_meta(unit), form)
    assert norms_of(on_meta(unit))
    assert not norms_of(net)
    assert {type(leaf) for leaf in net.modules() if not list(leaf.children())} <= {
        *(nn.Conv2d, nn.Linear, nn.GELU, nn.AdaptiveAvgPool2d, nn.Flatten)
    }


@pytest.mark.parametrize(
    ("unit", "form", "additions", "concatenations"),
    [
        ("u1", "train", BLOCKS, BLOCKS),
        ("u2", "train", 3 * BLOCKS, 0),
        ("u3", "train", 3 * BLOCKS, 0),
        *[(unit, form, BLOCKS, 0) for unit in UNITS for form in ("rrep", "rrep_fc")],
        *[(unit, "srep", 0, 0) for unit in UNITS],
    ],
)
def test_numbers_of_additions_and_concatenations_of_a_form(unit, form, additions, concatenations):
    assert count(unit, form, ADDITIONS) == additions
    assert count(unit, form, CONCATENATIONS) == concatenations


@pytest.mark.parametrize("unit", UNITS)
def test_srep_has_no_branch(unit):
    nodes = list(graph(unit, "srep").nodes)
    assert {node.op for node in nodes} == {"placeholder", "call_module", "output"}
    for node, following in itertools.pairwise(nodes):
        assert list(node.users) == [following]
        assert following.args == (node,)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_a_traced_form_computes_the_same_for_any_batch_and_resolution(tiny, form):
    net = models.fuse(tiny, form)
    traced = fx.symbolic_trace(net)
    for count, resolution in ((1, 32), (3, 64)):
        x = images(count, resolution)
        assert torch.equal(traced(x), net(x))
        assert_same(traced(x), tiny(x))

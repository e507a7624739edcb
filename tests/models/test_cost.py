"""Compare costs with counts by hand from Table 1 and with the numbers in the paper."""

import copy
import csv
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.paths import TESTS
from torch import nn
from torch.nn import functional

import bench
from bench import models
from bench.models import cost, counter, repnext
from bench.models.operators import operators

FORMS = ["train", "rrep", "rrep_fc", "srep"]
NETWORKS = ["u1_t", "u2_t", "u3_t", "u3_s", "u3_b"]
WIDTHS = {"t": (96, 192, 384, 768), "s": (96, 192, 384, 768), "b": (128, 256, 512, 1024)}
DEPTHS = {"t": (3, 3, 9, 3), "s": (3, 3, 27, 3), "b": (3, 3, 27, 3)}
CLASSES = 1000


@functools.cache
def net_of(name, form):
    """Return a network on the meta device, without weights."""
    if form != "train":
        return models.fuse(net_of(name, "train"), form)
    with torch.device("meta"):
        return repnext.repnext(*name.split("_")).eval()


@functools.cache
def macs_of(name, form, resolution):
    return cost.count_macs(net_of(name, form), resolution)


# RepNeXt, by hand


def depthwise_taps(unit, channels):
    third = channels // 3
    return {
        "u1": third * 9 + third * 25 + (channels - 2 * third) * 49,
        "u2": channels * (9 + 25 + 49),
        "u3": channels * (3 + 5 + 49),
    }[unit]


def macs_by_hand(name, form, resolution):
    unit, size = name.split("_")
    side, previous = resolution // 4, 3
    macs = 0
    for c, blocks in zip(WIDTHS[size], DEPTHS[size], strict=True):
        patch = 4 * 4 if previous == 3 else 2 * 2
        macs += side**2 * patch * previous * c
        per_pixel = {
            "train": depthwise_taps(unit, c) + 4 * c * c + 4 * c * c,
            "rrep": 49 * c + 4 * c * c + 4 * c * c,
            "rrep_fc": 49 * c + 4 * c * c + 4 * c * c,
            "srep": 49 * 2 * c + 2 * c * 5 * c + 5 * c * c,
        }[form]
        macs += blocks * side**2 * per_pixel
        side, previous = side // 2, c
    return macs + previous * CLASSES


def params_by_hand(name, form):
    unit, size = name.split("_")
    widths, depths = WIDTHS[size], DEPTHS[size]
    norms = 1 if unit == "u1" else 3
    params = 4 * 4 * 3 * widths[0] + (2 * widths[0] if form == "train" else widths[0])
    for before, c in itertools.pairwise(widths):
        params += 2 * 2 * before * c + c + (2 * before if form == "train" else 0)
    for c, blocks in zip(widths, depths, strict=True):
        pointwise = 4 * c * c + 4 * c + 4 * c * c + c
        params += (
            blocks
            * {
                "train": depthwise_taps(unit, c) + norms * 2 * c + pointwise,
                "rrep": 49 * c + c + pointwise,
                "rrep_fc": 49 * c + c + pointwise,
                "srep": (49 + 1) * 2 * c + (2 * c * 5 * c + 5 * c) + (5 * c * c + c),
            }[form]
        )
    return params + (2 * widths[-1] if form == "train" else 0) + widths[-1] * CLASSES + CLASSES


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_macs_equal_counts_by_hand_from_table_1(name, form):
    assert cost.count_params(net_of(name, form)) == params_by_hand(name, form)
    assert macs_of(name, form, 64) == macs_by_hand(name, form, 64)
    assert macs_of(name, form, 224) == macs_by_hand(name, form, 224)


@pytest.mark.parametrize(
    ("form", "params_m", "gmacs"),
    [
        ("train", 28.66, 4.47),
        ("rrep", 28.57, 4.46),
        ("rrep_fc", 28.57, 4.46),
        ("srep", 51.55, 8.20),
    ],
)
def test_parameters_and_macs_of_repnext_u3_t_are_known(form, params_m, gmacs):
    net = net_of("u3_t", form)
    assert round(cost.count_params(net) / 1e6, 2) == params_m
    assert round(macs_of("u3_t", form, 224) / 1e9, 2) == gmacs


def reported():
    path = Path(bench.__file__).parent / "paper" / "data" / "reported_results.csv"
    rows = csv.DictReader(path.read_text().splitlines())
    wanted = [row for row in rows if row["model"].startswith("repnext") and row["params_m"]]
    keys = ("model", "form", "input_size", "params_m", "gmacs")
    return sorted({tuple(row[key] for key in keys) for row in wanted})


@pytest.mark.parametrize(("model", "form", "resolution", "params_m", "gmacs"), reported())
def test_costs_are_close_to_the_paper(model, form, resolution, params_m, gmacs):
    name = model.removeprefix("repnext_")
    counted_m = cost.count_params(net_of(name, form)) / 1e6
    counted_g = macs_of(name, form, int(resolution)) / 1e9
    assert counted_m == pytest.approx(float(params_m), abs=0.6)  # u1-T: 28.43 is printed as 29
    assert counted_g == pytest.approx(float(gmacs), rel=0.02)  # u3-T@rrep: 4.46 is printed as 4.4


# Single layers, by hand


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(("stride", "out"), [(1, 16), (2, 8), (3, 6)])
def test_macs_of_a_convolution(groups, stride, out):
    conv = nn.Conv2d(6, 12, (3, 5), stride, padding=(1, 2), groups=groups)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), conv)
    assert cost.count_macs(net, 16) == 16 * 16 * 3 * 6 + out * out * 12 * (6 // groups) * 3 * 5


@pytest.mark.parametrize("bias", [False, True])
def test_macs_of_a_linear_layer_on_one_vector_and_on_many(bias):
    one = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10, bias))
    assert cost.count_macs(one, 8) == 3 * 8 * 8 * 10
    assert cost.count_macs(nn.Linear(8, 10, bias), 8) == 3 * 8 * 8 * 10


def test_layers_without_matrix_products_have_no_macs():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2), nn.ReLU())
    assert cost.count_macs(net, 8) == 0


class Attention(nn.Module):
    """Fused attention between tokens, each from a patch of 4 x 4 pixels."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.embed = nn.Conv2d(3, 24, 4, stride=4)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        q = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D)
        return functional.scaled_dot_product_attention(q, q, q)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_macs_of_fused_attention_equal_its_two_products(heads):
    length, width = (16 // 4) ** 2, 24 // heads
    scores = length * length * width  # L x D times D x L
    values = length * length * width  # L x L times L x D
    embedding = length * 24 * 3 * 4 * 4
    assert cost.count_macs(Attention(heads), 16) == embedding + heads * (scores + values)


class TorchAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(1, 2)  # (1, 3 * 8, 8)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


@pytest.mark.parametrize("training", [True, False])
def test_macs_of_torch_attention_do_not_depend_on_the_fast_path(training):
    projections = 24 * 8 * (3 * 8) + 24 * 8 * 8
    products = 2 * (24 * 24 * 8)
    net = TorchAttention().train(training)
    assert cost.count_macs(net, 8) == projections + products


def test_counting_does_not_change_the_network():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(net.state_dict())
    cost.count_macs(net, 8)
    assert net.training
    assert all(tensor.device.type == "cpu" for tensor in net.state_dict().values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


# Networks that need values, and work that no counter sees


class Net(nn.Module):
    """`run(convolution, image)`, with a pointwise convolution of 3 channels."""

    def __init__(self, run):
        super().__init__()
        self.run, self.pointwise = run, nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.run(self.pointwise, x)


@pytest.mark.parametrize(
    "run",
    [
        lambda conv, x: conv(x) if x.mean() > -9 else x,
        lambda conv, x: conv(x) * x.mean().item(),
        lambda conv, x: conv(x) + torch.arange(8, device="cpu"),
        lambda conv, x: conv(x) * float(x.mean().numpy()),
        lambda conv, x: conv(x)[:, torch.arange(2).numpy()],
        lambda conv, x: conv(x)[x > 0],
        lambda conv, x: conv(x.sub_(1)),
    ],
    ids=["branch", "item", "cpu", "number", "indices", "mask", "in place"],
)
def test_a_network_that_needs_values_is_counted(run):
    image = torch.ones(1, 3, 8, 8)
    found = cost.survey(Net(run), [image])
    assert (found.macs, found.uncounted, found.convolutions) == (8 * 8 * 3 * 3, "", 1)
    assert torch.equal(image, torch.ones(1, 3, 8, 8))


def test_the_branch_of_the_given_values_is_counted():
    net = Net(lambda conv, x: conv(x) if x.mean() > 5 else conv(conv(x)))
    assert cost.survey(net, [torch.full((1, 3, 8, 8), 9.0)]).macs == 8 * 8 * 9
    assert cost.survey(net, [torch.zeros(1, 3, 8, 8)]).macs == 2 * 8 * 8 * 9


def test_values_handed_to_numpy_make_the_count_unknown():
    net = Net(lambda conv, x: torch.from_numpy(conv(x).numpy() @ x.numpy()))
    found = cost.survey(net, [torch.ones(1, 3, 8, 8)])
    assert found.macs is None
    reason = "NumPy computes with a tensor of this network, (1, 3, 8, 8)"
    assert found == cost.Survey(uncounted=reason)


def test_a_network_that_fails_has_a_reason_in_place_of_a_count():
    def run(conv, x):
        raise LookupError("no such\nthing")

    found = cost.survey(Net(run), [torch.ones(1, 3, 8, 8)])
    assert found == cost.Survey(uncounted="counting failed with LookupError: no such")
    assert cost.count_macs(Net(run), 8) is None


def test_counting_draws_no_random_numbers():
    net = Net(lambda conv, x: conv(x) + torch.rand(1).item())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cost.survey(net, [torch.ones(1, 3, 8, 8)])
    assert torch.equal(torch.rand(1), expected)


def test_several_inputs_of_any_type_and_shape():
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.mix = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, words, scale):
            return self.mix(self.table(words)) * scale

    words = torch.zeros(1, 5, dtype=torch.long)
    assert cost.survey(Lookup(), [words, torch.ones(1)]).macs == 5 * 4 * 2
    assert cost.survey(Lookup(), [torch.zeros(1, 7).long(), torch.ones(7, 2)]).macs == 7 * 4 * 2


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_or_compiled_network_is_counted():
    net, image = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval(), torch.ones(1, 3, 8, 8)
    scripted = torch.jit.script(net)
    variants = [scripted, torch.jit.freeze(scripted), torch.compile(net)]
    assert [cost.survey(each, [image]).macs for each in variants] == [8 * 8 * 9] * 3


@pytest.mark.filterwarnings("ignore")
def test_operators_that_torchscript_hides_are_unknown():
    net = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval())
    found = cost.survey(torch.jit.optimize_for_inference(net), [torch.ones(1, 3, 8, 8)])
    assert "prim::mkldnn_convolution" in found.uncounted
    assert found == cost.Survey(uncounted=found.uncounted)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_network_whose_weight_is_computed_is_counted():
    net = nn.utils.weight_norm(nn.Conv2d(3, 3, 1))
    assert cost.survey(net, [torch.ones(1, 3, 8, 8)]).macs == 8 * 8 * 9


class Blind(counter.OperatorCounter):
    """A counter to which torch shows nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_a_network_of_which_torch_shows_no_operator_has_no_counts(monkeypatch):
    counter.visible_mode()
    monkeypatch.setattr(counter, "OperatorCounter", Blind)
    found = cost.survey(nn.Linear(8, 10), [torch.ones(1, 8)])
    assert found == cost.Survey(uncounted="torch shows no operator of this network")


@pytest.fixture
def fresh_mode():
    counter.visible_mode.cache_clear()
    yield
    counter.visible_mode.cache_clear()


def test_where_inference_mode_hides_operators_they_are_counted_without_it(monkeypatch, fresh_mode):
    seen = counter.dispatch.call

    def only_outside(func, args, kwargs):
        done = seen(func, args, kwargs)
        return done._replace(macs=0) if torch.is_inference_mode_enabled() else done

    monkeypatch.setattr(counter.dispatch, "call", only_outside)
    assert cost.count_macs(nn.Linear(8, 10), 8) == 3 * 8 * 8 * 10


def test_small_operators_are_not_counted_where_inference_mode_hides_them(monkeypatch):
    monkeypatch.setattr(counter, "visible_mode", lambda: counter.outside_inference_mode)
    with pytest.raises(RuntimeError, match="does not show its operators"):
        cost.count_small_operators(nn.Conv2d(3, 3, 1), [torch.zeros(1, 3, 8, 8)])


def test_they_are_counted_without_it_in_a_process_that_is_in_inference_mode(
    monkeypatch, fresh_mode
):
    """As a child is; `torch.no_grad` alone does not leave the mode."""
    seen = counter.dispatch.call

    def only_outside(func, args, kwargs):
        done = seen(func, args, kwargs)
        return done._replace(macs=0) if torch.is_inference_mode_enabled() else done

    monkeypatch.setattr(counter.dispatch, "call", only_outside)
    image = torch.ones(1, 3, 8, 8)
    with torch.inference_mode():
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
        assert cost.count_macs(net, 8) == 8 * 8 * 3 * 4
        listed = operators(net, [image], counter.visible_mode())
        assert torch.is_inference_mode_enabled()
    assert sum(each.macs or 0 for each in listed) == 8 * 8 * 3 * 4


def test_where_torch_shows_no_operator_nothing_is_counted(monkeypatch, fresh_mode):
    seen = counter.dispatch.call
    monkeypatch.setattr(counter.dispatch, "call", lambda *given: seen(*given)._replace(macs=0))
    found = cost.survey(nn.Linear(8, 10), [torch.ones(1, 8)])
    assert found == cost.Survey(uncounted=f"torch {torch.__version__} does not show its operators")


@pytest.mark.parametrize(
    ("run", "written"),
    [
        (lambda conv, x: x.transpose(2, 3), 0),
        (lambda conv, x: x.transpose(2, 3).reshape(1, -1), 768),
        (lambda conv, x: x.clone(), 768),
        (lambda conv, x: x.contiguous().flatten(), 0),
        (lambda conv, x: x.to(torch.float64), 2 * 768),
    ],
    ids=["view", "copying reshape", "clone", "no copy", "cast"],
)
def test_a_copy_writes_bytes_and_a_view_does_not(run, written):
    assert cost.survey(Net(run), [torch.ones(1, 3, 8, 8)]).activation_bytes == written


def test_small_operators_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 1),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 7),
    )
    found = cost.count_small_operators(net, [torch.zeros(1, 3, 8, 8)])
    assert found == cost.SmallOperators(
        biases=5 * 6 * 6 + 7,
        normalised=4 * 6 * 6,
        activated=(4 + 5) * 6 * 6,
        pooled=5 * 6 * 6 + 5 * 3 * 3,
    )


# Parameters, bytes, structure


def small(stride=1, padding=0, act=nn.GELU):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride, padding), nn.BatchNorm2d(4), act())


def test_running_statistics_do_not_count_as_parameters():
    assert cost.count_params(small()) == 4 * 3 * 3 * 3 + 4 + 2 * 4


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 2)]
)
def test_weight_bytes_include_parameters_and_buffers(dtype, size):
    counter_of_batches = 8  # an int64, which no cast to a float type changes
    values = (4 * 3 * 3 * 3 + 4) + 2 * 4 + 2 * 4
    assert cost.weight_bytes(small().to(dtype)) == values * size + counter_of_batches


def test_structural_hash_does_not_depend_on_the_weights():
    first, second = models.build("repnext_u3_t", seed=0), models.build("repnext_u3_t", seed=1)
    assert cost.structural_hash(first) == cost.structural_hash(second)
    assert cost.structural_hash(first) == cost.structural_hash(net_of("u3_t", "train"))


def test_structural_hash_differs_between_networks_and_forms():
    trained = [cost.structural_hash(net_of(name, "train")) for name in NETWORKS]
    assert len(set(trained)) == len(NETWORKS)
    forms = [cost.structural_hash(net_of("u3_t", form)) for form in FORMS]
    assert len(set(forms)) == len(FORMS)


@pytest.mark.parametrize("other", [{"stride": 2}, {"padding": 1}, {"act": nn.ReLU}], ids=str)
def test_structural_hash_depends_on_settings_that_change_no_shape(other):
    assert cost.structural_hash(small(**other)) != cost.structural_hash(small())


def test_structural_hash_is_the_same_in_another_process():
    script = (
        "from bench.models.cost import structural_hash; from test_cost import small; "
        "print(structural_hash(small()))"
    )
    env = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(TESTS)]),
    }
    asked = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert asked.stdout.strip() == cost.structural_hash(small()), asked.stderr

"""RepNeXt against forwards written from the equations of Sections 3.1-3.3, in float64."""

import copy
import itertools
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from support.tensors import (
    assert_equal,
    assert_same,
    batch_norm,
    norms_of,
    randn,
    randomise,
    relative_error,
)
from torch import nn
from torch.nn import functional

from bench import models
from bench.models import repnext
from bench.models.repnext import Classifier, ConvBN, Downsample, ParallelUnit, RepNeXtBlock

CHANNELS = [6, 7, 8]  # even, odd, and every remainder modulo three
UNITS = ["u1", "u2", "u3", "plain"]


# The paper's forward pass, from the parameters of the modules alone.


def correlate(x, weight):
    """F * I for a depthwise kernel F: the sum over taps of weight times shifted, padded input."""
    height, width = x.shape[2:]
    rows, columns = weight.shape[2:]
    padded = functional.pad(x, (columns // 2, columns // 2, rows // 2, rows // 2))
    out = torch.zeros_like(x)
    for i, j in itertools.product(range(rows), range(columns)):
        out += weight[:, 0, i, j, None, None] * padded[:, :, i : i + height, j : j + width]
    return out


def patches(x, conv):
    """A k x k convolution with stride k: the product of each patch and the kernel."""
    images, channels, height, width = x.shape
    k = conv.weight.shape[-1]
    cut = x.reshape(images, channels, height // k, k, width // k, k)
    out = torch.einsum("ncyixj,ocij->noyx", cut, conv.weight)
    return out if conv.bias is None else out + conv.bias[:, None, None]


def pointwise(x, conv):
    out = torch.einsum("nchw,oc->nohw", x, conv.weight.flatten(1))
    return out + conv.bias[:, None, None]


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def unit_1(unit, x):
    """Eq. 1. The 7x7 branch takes the channels that remain after two thirds."""
    third = x.shape[1] // 3
    small = correlate(x[:, :third], unit.conv3.weight)
    medium = correlate(x[:, third : 2 * third], unit.conv5.weight)
    large = correlate(x[:, 2 * third :], unit.conv7.weight)
    return batch_norm(torch.cat([small, medium, large], 1), unit.bn)


def parallel_unit(unit, x):
    """Eq. 3."""
    out = torch.zeros_like(x)
    for branch in (unit.small, unit.medium, unit.large):
        out += batch_norm(correlate(x, branch.conv.weight), branch.bn)
    return out


def plain_unit(unit, x):
    return batch_norm(correlate(x, unit.conv.weight), unit.bn)


def stem(module, x):
    return batch_norm(patches(x, module.conv), module.bn)


def downsample(module, x):
    return patches(batch_norm(x, module.bn), module.conv)


def classifier(module, x):
    return batch_norm(x, module.bn) @ module.fc.weight.T + module.fc.bias


def block(module, x, unit):
    """Eq. 8, third line: pw2 * a(I_2) + B(pw2) + a(I_0)."""
    i1 = unit(module.unit, x)
    i2 = pointwise(i1, module.pw1)
    return pointwise(gelu(i2), module.pw2) + gelu(x)


def network(net, x, unit):
    """Table 1 from top to bottom."""
    x = stem(net.stem, x)
    for number in range(1, 5):
        if number > 1:
            x = downsample(net.get_submodule(f"downsample{number - 1}"), x)
        for each in net.get_submodule(f"stage{number}"):
            x = block(each, x, unit)
    return classifier(net.classifier, x.mean((2, 3)))


UNIT_REFERENCE = {"u1": unit_1, "u2": parallel_unit, "u3": parallel_unit, "plain": plain_unit}


# Modules with fuse().


class Crossed(ParallelUnit):
    """ParallelUnit with other sizes than RepUnit2 and RepUnit3."""

    sizes = ((1, 3), (5, 1), (7, 7))


class Fusable(NamedTuple):
    make: Callable[[int], nn.Module]
    reference: Callable
    shape: tuple[int, ...] = (8, 12)


FUSABLE = {
    "stem": Fusable(lambda c: ConvBN(nn.Conv2d(c, c + 1, 4, stride=4, bias=False)), stem),
    "plain": Fusable(repnext.UNITS["plain"], plain_unit),
    "u1": Fusable(repnext.UNITS["u1"], unit_1),
    "u2": Fusable(repnext.UNITS["u2"], parallel_unit),
    "u3": Fusable(repnext.UNITS["u3"], parallel_unit),
    "crossed": Fusable(Crossed, parallel_unit),
    "downsample": Fusable(lambda c: Downsample(c, 2 * c), downsample),
    "classifier": Fusable(lambda c: Classifier(c, 5), classifier, shape=()),
}


@pytest.fixture(params=FUSABLE)
def fusable(request):
    return FUSABLE[request.param]


@pytest.fixture(params=CHANNELS)
def channels(request):
    return request.param


@pytest.fixture
def module(fusable, channels):
    return randomise(fusable.make(channels))


@pytest.fixture
def x(fusable, channels):
    return randn(3, channels, *fusable.shape)


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def storages(module):
    tensors = [*module.parameters(), *module.buffers()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def test_every_class_with_fuse_is_in_the_table():
    tested = {cls for each in FUSABLE.values() for cls in type(each.make(6)).__mro__}
    mine = [cls for cls in vars(repnext).values() if isinstance(cls, type)]
    owners = {cls for cls in mine if cls.__module__ == repnext.__name__ and hasattr(cls, "fuse")}
    assert len(owners) >= 6
    assert owners <= tested


@torch.no_grad()
def test_forward_computes_the_equation_of_the_paper(fusable, module, x):
    assert_same(module(x), fusable.reference(module, x))


@torch.no_grad()
def test_fused_computes_the_equation_of_the_paper(fusable, module, x):
    assert_same(module.fuse()(x), fusable.reference(module, x))


def test_fused_is_one_plain_layer(module):
    assert type(module.fuse()) in (nn.Conv2d, nn.Linear)


@torch.no_grad()
def test_fuse_does_not_change_the_original(module, x):
    before, output = state(module), module(x)
    module.fuse()
    assert_equal(module.state_dict(), before)
    assert torch.equal(module(x), output)


def test_a_second_fuse_gives_the_same_result(module):
    assert_equal(module.fuse().state_dict(), module.fuse().state_dict())


@torch.no_grad()
def test_fused_shares_no_storage_with_the_original(module, x):
    fused = module.fuse()
    output = fused(x)
    assert storages(fused).isdisjoint(storages(module))
    for tensor in module.parameters():
        tensor.zero_()
    assert torch.equal(fused(x), output)


@pytest.mark.parametrize("unit", UNITS)
def test_a_fused_unit_is_a_depthwise_7x7(unit, channels):
    fused = repnext.UNITS[unit](channels).fuse()
    assert fused.weight.shape == (channels, 1, 7, 7)
    assert (fused.groups, fused.stride, fused.padding) == (channels, (1, 1), (3, 3))
    assert fused.bias is not None


@pytest.mark.parametrize(
    ("unit", "shapes"),
    [
        ("u1", [(3, 1, 3, 3), (3, 1, 5, 5), (5, 1, 7, 7)]),
        ("u2", [(11, 1, 3, 3), (11, 1, 5, 5), (11, 1, 7, 7)]),
        ("u3", [(11, 1, 3, 1), (11, 1, 1, 5), (11, 1, 7, 7)]),
        ("plain", [(11, 1, 7, 7)]),
    ],
)
def test_the_kernel_shapes_of_a_unit_match_figure_2(unit, shapes):
    convs = [m for m in repnext.UNITS[unit](11).modules() if isinstance(m, nn.Conv2d)]
    assert sorted(tuple(conv.weight.shape) for conv in convs) == sorted(shapes)
    assert all(conv.bias is None for conv in convs)


# The block: Eqs. 6-8.


@pytest.fixture(params=UNITS)
def unit(request):
    return request.param


@pytest.fixture(params=[6, 7])
def width(request):
    return request.param


@pytest.fixture
def trained(unit, width):
    pw1, pw2 = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
    return randomise(RepNeXtBlock(repnext.UNITS[unit](width), pw1, pw2))


@pytest.fixture
def fused(trained):
    return RepNeXtBlock(trained.unit.fuse(), trained.pw1, trained.pw2)


@torch.no_grad()
def test_a_block_computes_eq_8(trained, unit, width):
    x = randn(2, width, 6, 9)
    assert_same(trained(x), block(trained, x, UNIT_REFERENCE[unit]))


@torch.no_grad()
def test_a_block_without_shortcut_computes_eqs_6_to_8_step_by_step(trained, fused, unit, width):
    i0 = randn(2, width, 6, 9)
    i1 = UNIT_REFERENCE[unit](trained.unit, i0)
    i2 = pointwise(i1, trained.pw1)
    plain = fused.without_shortcut()

    i1_rep = plain.gw(i0)
    in_turn = [each for pair in zip(i1.unbind(1), i0.unbind(1), strict=True) for each in pair]
    assert_same(i1_rep, torch.stack(in_turn, 1))
    a_i2_rep = plain.act(plain.pw1(i1_rep))
    assert_same(a_i2_rep, torch.cat([gelu(i2), gelu(i0)], 1))
    assert_same(plain.pw2(a_i2_rep), block(trained, i0, UNIT_REFERENCE[unit]))
    assert_same(plain(i0), block(trained, i0, UNIT_REFERENCE[unit]))


def test_a_block_without_shortcut_has_the_shapes_of_table_1(fused, width):
    gw, pw1, act, pw2 = fused.without_shortcut()
    assert (gw.kernel_size, gw.out_channels, gw.groups) == ((7, 7), 2 * width, width)
    assert (pw1.kernel_size, pw1.in_channels, pw1.out_channels) == (
        (1, 1),
        2 * width,
        5 * width,
    )
    assert isinstance(act, nn.GELU)
    assert (pw2.kernel_size, pw2.in_channels, pw2.out_channels) == ((1, 1), 5 * width, width)


@torch.no_grad()
def test_a_block_with_linear_layers_computes_eq_8(trained, fused, unit, width):
    x = randn(2, width, 6, 9)
    for given in (trained, fused):
        assert_same(given.with_linear()(x), block(trained, x, UNIT_REFERENCE[unit]))


@pytest.mark.parametrize("method", ["with_linear", "without_shortcut"])
@torch.no_grad()
def test_steps_do_not_change_a_block_and_are_repeatable(fused, width, method):
    x = randn(2, width, 6, 9)
    before, output = state(fused), fused(x)
    first, second = getattr(fused, method)(), getattr(fused, method)()
    assert_equal(fused.state_dict(), before)
    assert torch.equal(fused(x), output)
    assert_equal(first.state_dict(), second.state_dict())


def test_a_block_without_shortcut_shares_no_storage_with_the_original(fused):
    assert storages(fused.without_shortcut()).isdisjoint(storages(fused))


@pytest.mark.parametrize("method", ["with_linear", "without_shortcut"])
@pytest.mark.parametrize("training", [True, False])
def test_a_block_keeps_its_training_mode(method, training):
    unit = repnext.UNITS["u3"](6).fuse()
    given = RepNeXtBlock(unit, nn.Conv2d(6, 24, 1), nn.Conv2d(24, 6, 1)).train(training)
    made = getattr(given, method)()
    assert {module.training for module in made.modules()} == {training}


@pytest.mark.parametrize("unit", UNITS)
def test_without_shortcut_needs_a_fused_unit(unit):
    made = RepNeXtBlock(repnext.UNITS[unit](6), nn.Conv2d(6, 24, 1), nn.Conv2d(24, 6, 1))
    with pytest.raises(TypeError, match="one convolution"):
        made.without_shortcut()


# The network: Section 3.3, Table 1.

CONFIGURATIONS = {
    "t": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "s": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "b": ((128, 256, 512, 1024), (3, 3, 27, 3)),
}


def test_sizes_match_section_3_3():
    assert repnext.SIZES == CONFIGURATIONS


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_output_sizes_and_blocks_match_table_1(size, unit):
    with torch.device("meta"):
        net, x = repnext.repnext(unit, size), torch.empty(2, 3, 224, 224)
    outputs = {}
    for name, child in net.named_children():
        x = outputs[name] = child(x)
    widths, depths = CONFIGURATIONS[size]
    assert outputs["stem"].shape == (2, widths[0], 56, 56)
    for i, side in enumerate((56, 28, 14, 7)):
        assert outputs[f"stage{i + 1}"].shape == (2, widths[i], side, side)
        stage = net.get_submodule(f"stage{i + 1}")
        assert [type(each) for each in stage] == [RepNeXtBlock] * depths[i]
        assert {each.pw1.out_channels for each in stage} == {4 * widths[i]}
    assert x.shape == (2, 1000)


@pytest.fixture
def tiny(monkeypatch, unit):
    """A network with odd and even widths, every kind of layer, and a few thousand weights."""
    size = repnext.Size((7, 10, 12, 17), (1, 2, 1, 2))
    monkeypatch.setitem(repnext.SIZES, "tiny", size)
    return randomise(repnext.repnext(unit, "tiny", num_classes=5))


@torch.no_grad()
def test_a_network_computes_table_1(tiny, unit):
    x = randn(2, 3, 64, 96)
    assert_same(tiny(x), network(tiny, x, UNIT_REFERENCE[unit]))


@torch.no_grad()
@pytest.mark.parametrize("form", ["train", "rrep", "rrep_fc", "srep"])
def test_every_form_computes_table_1(tiny, unit, form):
    x = randn(2, 3, 64, 96)
    assert_same(models.fuse(tiny, form)(x), network(tiny, x, UNIT_REFERENCE[unit]))


# Planted errors: each must fail the comparisons above.


def blocks_of(srep):
    return [each for number in range(1, 5) for each in srep.get_submodule(f"stage{number}")]


def drop_the_running_mean(net):
    for norm in norms_of(net):
        norm.running_mean.zero_()
    return models.fuse(net, "srep")


def drop_one_running_mean(net):
    norms_of(net)[-2].running_mean.zero_()
    return models.fuse(net, "srep")


def drop_the_epsilon(net):
    for norm in norms_of(net):
        norm.eps = 0.0
    return models.fuse(net, "srep")


def ones_instead_of_dirac(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        each.gw.weight[1::2] = 1
    return srep


def ones_instead_of_a_dense_dirac(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        each.pw2.weight[:, -each.pw2.out_channels :] = 1
    return srep


def swap_the_interleaving(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        for tensor in (each.gw.weight, each.gw.bias):
            tensor.copy_(tensor.unflatten(0, (-1, 2)).flip(1).flatten(0, 1))
    return srep


def concatenate_instead_of_interleave(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        for tensor in (each.gw.weight, each.gw.bias):
            tensor.copy_(torch.cat([tensor[0::2], tensor[1::2]]))
    return srep


def shift_the_shortcut_by_one_channel(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        shortcut = each.pw2.weight[:, -each.pw2.out_channels :]
        shortcut.copy_(shortcut.roll(1, 1))
    return srep


def shift_the_kernel_by_one_tap(net):
    rrep = models.fuse(net, "rrep")
    conv = rrep.stage2[0].unit
    conv.weight.copy_(conv.weight.roll(1, 3))
    return rrep


def forget_the_bias_of_one_branch(net):
    rrep = models.fuse(net, "rrep")
    rrep.downsample1.bias.copy_(net.downsample1.conv.bias)
    return rrep


def approximate_the_gelu(net):
    srep = models.fuse(net, "srep")
    for each in blocks_of(srep):
        each.act = nn.GELU("tanh")
    return srep


ERRORS = [
    drop_the_running_mean,
    drop_one_running_mean,
    ones_instead_of_dirac,
    ones_instead_of_a_dense_dirac,
    swap_the_interleaving,
    concatenate_instead_of_interleave,
    shift_the_shortcut_by_one_channel,
    shift_the_kernel_by_one_tap,
    forget_the_bias_of_one_branch,
]


@torch.no_grad()
@pytest.mark.parametrize("plant", ERRORS, ids=lambda plant: plant.__name__)
def test_a_planted_error_exceeds_every_tolerance(tiny, plant):
    x = randn(2, 3, 64, 96)
    expected, wrong = tiny(x), plant(copy.deepcopy(tiny))(x)
    assert wrong.shape == expected.shape
    assert relative_error(wrong, expected) > 1e-3
    with pytest.raises(AssertionError):
        assert_same(wrong, expected, tolerance=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("plant", [drop_the_epsilon, approximate_the_gelu])
def test_a_small_planted_error_is_detected_in_float64(tiny, plant):
    x = randn(2, 3, 64, 96)
    expected, wrong = tiny(x), plant(copy.deepcopy(tiny))(x)
    assert relative_error(wrong, expected) > 1e-6
    with pytest.raises(AssertionError):
        assert_same(wrong, expected)

"""Kernel algebra against the formulas of Sections 2.2 and 3.2, in float64."""

import itertools

import pytest
import torch
from support.tensors import assert_same, batch_norm, randn, randomise, relative_error
from torch import nn
from torch.nn import functional

from bench.models import reparam
from bench.models.reparam import Affine, Kernel, affine_of, conv_then_affine, kernel_of

SIZES = [(1, 1), (2, 2), (3, 3), (4, 4), (7, 7), (3, 1), (1, 5)]
ODD_SIZES = [(1, 1), (3, 1), (1, 5), (3, 3), (5, 5), (7, 7)]


def convolve(x, kernel, **settings):
    return functional.conv2d(x, kernel.weight, kernel.bias, **settings)


def random_kernel(*shape, seed=2):
    return Kernel(randn(*shape, seed=seed), randn(shape[0], seed=seed + 1))


@pytest.mark.parametrize("bias", [False, True], ids=["unbiased", "biased"])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_batch_norm_after_a_convolution_folds_into_it(size, stride, groups, bias):
    half = (size[0] // 2, size[1] // 2)
    conv = nn.Conv2d(6, 12, size, stride, half, groups=groups, bias=bias)
    conv, norm = randomise(nn.Sequential(conv, nn.BatchNorm2d(12, eps=1e-3)))
    folded = conv_then_affine(kernel_of(conv), affine_of(norm))
    x = randn(2, 6, 9, 10)
    expected = batch_norm(conv(x), norm)
    assert_same(convolve(x, folded, stride=stride, padding=half, groups=groups), expected)
    assert_same(reparam.conv2d(folded, conv)(x), expected)


@pytest.mark.parametrize("bias", [False, True], ids=["unbiased", "biased"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_batch_norm_before_an_unpadded_convolution_folds_into_it(size, stride, bias):
    conv = nn.Conv2d(5, 8, size, stride, bias=bias)
    norm, conv = randomise(nn.Sequential(nn.BatchNorm2d(5), conv))
    folded = reparam.affine_then_conv(affine_of(norm), kernel_of(conv))
    x = randn(2, 5, 9, 10)
    assert_same(convolve(x, folded, stride=stride), conv(batch_norm(x, norm)))


@pytest.mark.parametrize("bias", [False, True], ids=["unbiased", "biased"])
def test_a_batch_norm_on_either_side_of_a_linear_layer_folds_into_it(bias):
    before, layer, after = randomise(
        nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 7, bias), nn.BatchNorm1d(7))
    )
    x = randn(3, 5)
    folded = reparam.affine_then_conv(affine_of(before), kernel_of(layer))
    assert_same(functional.linear(x, *folded), layer(batch_norm(x, before)))
    folded = conv_then_affine(kernel_of(layer), affine_of(after))
    assert_same(functional.linear(x, *folded), batch_norm(layer(x), after))


def test_a_batch_norm_without_learned_parameters_is_an_affine_map():
    norm = randomise(nn.BatchNorm2d(4, affine=False))
    x = randn(2, 4, 3, 3)
    scale, shift = affine_of(norm)
    assert_same(x * scale[:, None, None] + shift[:, None, None], norm(x))


def test_a_batch_norm_without_statistics_is_refused():
    with pytest.raises(ValueError, match="running statistics"):
        affine_of(nn.BatchNorm2d(4, track_running_stats=False))


@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
def test_a_padded_kernel_computes_the_same(size):
    weight = randn(4, 3, *size)
    padded = reparam.pad_to(weight, (7, 7))
    assert padded.shape == (4, 3, 7, 7)
    assert int((padded != 0).sum()) == weight.numel()
    x = randn(2, 3, 9, 10)
    expected = functional.conv2d(x, weight, padding=(size[0] // 2, size[1] // 2))
    assert_same(functional.conv2d(x, padded, padding=3), expected)


@pytest.mark.parametrize(
    ("size", "target"), [((2, 2), (7, 7)), ((7, 7), (5, 5)), ((3, 2), (7, 7)), ((3, 7), (7, 5))]
)
def test_a_kernel_that_cannot_be_centred_is_refused(size, target):
    with pytest.raises(ValueError, match="cannot be centred"):
        reparam.pad_to(torch.ones(1, 1, *size), target)


def test_added_branches_merge_into_one_kernel():
    kernels = [random_kernel(4, 3, *size) for size in ((3, 1), (1, 5), (7, 7))]
    x = randn(2, 3, 9, 10)
    first, second, third = (
        convolve(x, kernel, padding=padding)
        for kernel, padding in zip(kernels, ((1, 0), (0, 2), (3, 3)), strict=True)
    )
    merged = reparam.add_parallel(kernels, (7, 7))
    assert_same(convolve(x, merged, padding=3), first + second + third)


def test_concatenated_branches_merge_into_one_kernel():
    sizes, widths = (3, 5, 7), (2, 3, 4)
    kernels = [random_kernel(c, 1, k, k) for c, k in zip(widths, sizes, strict=True)]
    x = randn(2, 9, 9, 10)
    first = convolve(x[:, 0:2], kernels[0], padding=1, groups=2)
    second = convolve(x[:, 2:5], kernels[1], padding=2, groups=3)
    third = convolve(x[:, 5:9], kernels[2], padding=3, groups=4)
    merged = reparam.concat_parallel(kernels, (7, 7))
    assert_same(convolve(x, merged, padding=3, groups=9), torch.cat([first, second, third], 1))


@pytest.mark.parametrize("size", [*ODD_SIZES, (2, 2)], ids=str)
@pytest.mark.parametrize("channels", [1, 4, 5])
def test_a_dirac_kernel_equals_eq_5(channels, size):
    weight, bias = reparam.dirac(channels, size)
    assert weight.dtype == torch.float64
    assert weight.shape == (channels, channels, *size)
    assert not bias.any()
    for o, i, h, w in itertools.product(*map(range, weight.shape)):
        is_one = h == size[0] // 2 and w == size[1] // 2 and o == i
        assert weight[o, i, h, w] == float(is_one)


@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_the_output_of_a_dirac_kernel_equals_its_input(depthwise, size):
    kernel = reparam.dirac(5, size, depthwise=depthwise)
    x = randn(2, 5, 8, 9)
    padding = (size[0] // 2, size[1] // 2)
    assert_same(convolve(x, kernel, padding=padding, groups=5 if depthwise else 1), x)


@pytest.mark.parametrize("shape", [(3,), (4, 1, 7, 7)], ids=str)
def test_interleave_alternates_rows(shape):
    first, second = randn(*shape, seed=1), randn(*shape, seed=2)
    rows = [row for pair in zip(first, second, strict=True) for row in pair]
    assert torch.equal(reparam.interleave(first, second), torch.stack(rows))


@pytest.mark.parametrize("size", [(7, 7), (3, 3), (3, 5)], ids=str)
@pytest.mark.parametrize("channels", [1, 4, 5])
def test_a_widened_depthwise_kernel_interleaves_output_and_input_as_in_eq_6(channels, size):
    dw = random_kernel(channels, 1, *size)
    settings = {"padding": (size[0] // 2, size[1] // 2), "groups": channels}
    x = randn(2, channels, 8, 9)
    both = convolve(x, reparam.widen_depthwise(dw), **settings)
    assert both.shape[1] == 2 * channels
    assert_same(both[:, 0::2], convolve(x, dw, **settings))
    assert_same(both[:, 1::2], x)


@pytest.mark.parametrize(("channels", "expanded"), [(1, 4), (4, 16), (5, 20), (5, 3)])
def test_a_widened_first_pointwise_kernel_passes_the_shortcut_as_in_eq_7(channels, expanded):
    pw1 = random_kernel(expanded, channels, 1, 1)
    i0, i1 = randn(2, channels, 4, 5, seed=4), randn(2, channels, 4, 5, seed=5)
    in_turn = torch.stack([i1, i0], 2).flatten(1, 2)
    out = convolve(in_turn, reparam.widen_first_pointwise(pw1))
    assert_same(out, torch.cat([convolve(i1, pw1), i0], 1))


@pytest.mark.parametrize(("channels", "expanded"), [(1, 4), (4, 16), (5, 20), (5, 3)])
def test_a_widened_last_pointwise_kernel_adds_the_shortcut_as_in_eq_8(channels, expanded):
    pw2 = random_kernel(channels, expanded, 1, 1)
    main, shortcut = randn(2, expanded, 4, 5, seed=4), randn(2, channels, 4, 5, seed=5)
    out = convolve(torch.cat([main, shortcut], 1), reparam.widen_last_pointwise(pw2))
    assert_same(out, convolve(main, pw2) + shortcut)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_padded_convolution_computes_the_same(size, padding):
    like = randomise(nn.Conv2d(4, 6, size, stride=2, padding=padding, groups=2))
    weight, bias = kernel_of(like)
    grown = reparam.conv2d(Kernel(reparam.pad_to(weight, (7, 7)), bias), like)
    x = randn(2, 4, 11, 12)
    assert grown.kernel_size == (7, 7)
    assert_same(grown(x), like(x))


def test_a_convolution_with_padding_same_is_refused():
    like = nn.Conv2d(2, 2, 3, padding="same")
    with pytest.raises(ValueError, match="same"):
        reparam.conv2d(kernel_of(like), like)


def test_a_linear_layer_computes_the_same_as_a_pointwise_convolution():
    conv = randomise(nn.Conv2d(4, 6, 1))
    layer = reparam.linear(kernel_of(conv), conv)
    x = randn(2, 4, 3, 5)
    assert_same(layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), conv(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_fold_is_in_float64_and_is_cast_once(dtype):
    conv, norm = randomise(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))).to(dtype)
    folded = conv_then_affine(kernel_of(conv), affine_of(norm))
    norm64, bias = norm.double(), conv.bias.double()
    sigma = (norm64.running_var + norm64.eps).sqrt()
    assert folded.weight.dtype == folded.bias.dtype == torch.float64
    expected = (bias - norm64.running_mean) * norm64.weight / sigma + norm64.bias
    assert_same(folded.bias, expected.detach())
    built = reparam.conv2d(folded, conv)
    assert torch.equal(built.weight, folded.weight.to(dtype))
    assert torch.equal(built.bias, folded.bias.to(dtype))


@pytest.mark.parametrize("training", [True, False])
def test_a_new_layer_keeps_the_training_mode(training):
    conv = nn.Conv2d(2, 2, 1).train(training)
    assert reparam.conv2d(kernel_of(conv), conv).training is training
    assert reparam.linear(kernel_of(conv), conv).training is training


KERNEL, AFFINE = random_kernel(4, 4, 3, 3), Affine(randn(4, seed=6), randn(4, seed=7))
DEPTHWISE, POINTWISE = random_kernel(4, 1, 7, 7), random_kernel(8, 4, 1, 1)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (reparam.conv_then_affine, (KERNEL, AFFINE)),
        (reparam.affine_then_conv, (AFFINE, KERNEL)),
        (reparam.pad_to, (KERNEL.weight, (7, 7))),
        (reparam.add_parallel, ([KERNEL, KERNEL], (7, 7))),
        (reparam.concat_parallel, ([KERNEL, KERNEL], (7, 7))),
        (reparam.interleave, (KERNEL.weight, KERNEL.weight)),
        (reparam.widen_depthwise, (DEPTHWISE,)),
        (reparam.widen_first_pointwise, (POINTWISE,)),
        (reparam.widen_last_pointwise, (POINTWISE,)),
        (reparam.conv2d, (KERNEL, nn.Conv2d(4, 4, 3))),
        (reparam.linear, (POINTWISE, nn.Conv2d(4, 8, 1))),
    ],
    ids=lambda value: getattr(value, "__name__", "of"),
)
def test_functions_do_not_change_their_arguments(function, arguments):
    given = [*KERNEL, *AFFINE, *DEPTHWISE, *POINTWISE]
    before = [tensor.clone() for tensor in given]
    function(*arguments)
    assert all(map(torch.equal, given, before))


@pytest.mark.parametrize("slip", ["mean", "variance", "scale", "shift", "eps"])
def test_a_fold_without_one_statistic_fails_the_comparison(slip):
    conv, norm = randomise(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)))
    x = randn(2, 4, 8, 8)
    expected = batch_norm(conv(x), norm)
    forgotten = {
        "mean": lambda: norm.running_mean.zero_(),
        "variance": lambda: norm.running_var.fill_(1),
        "scale": lambda: norm.weight.data.fill_(1),
        "shift": lambda: norm.bias.data.zero_(),
        "eps": lambda: setattr(norm, "eps", 0.0),
    }
    forgotten[slip]()
    wrong = reparam.conv2d(conv_then_affine(kernel_of(conv), affine_of(norm)), conv)(x)
    assert relative_error(wrong, expected) > 1e-7  # eps alone; the others are above 1e-2
    with pytest.raises(AssertionError):
        assert_same(wrong, expected)

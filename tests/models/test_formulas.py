"""Multiply-accumulates of single operators: by hand, by torch's counter, or unknown."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from bench.models import cost, formulas
from bench.models.operators import operators

IMAGE = torch.zeros(1, 3, 16, 16)
TOKENS = torch.zeros(1, 5, 8)  # (N, L, D)
SERIES = torch.zeros(5, 1, 8)  # (steps, N, features)


class Function(nn.Module):
    """`run(*modules, *inputs)` as a network."""

    def __init__(self, run, *modules):
        super().__init__()
        self.run, self.inner = run, nn.ModuleList(modules)

    def forward(self, *inputs):
        return self.run(*self.inner, *inputs)


def encoder():
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()


def packed(lstm, x):
    return lstm(nn.utils.rnn.pack_sequence([x[0], x[0][:2]]))[0].data


def deformed(convolution, x):
    offsets = torch.zeros(1, 2 * 3 * 3, 14, 14, device=x.device)
    return convolution(x, offsets)


# Projections of queries, keys, values and output, then scores and sums over values.
SELF_ATTENTION = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
BY_HAND = {
    "transposed convolution": (
        nn.ConvTranspose2d(3, 6, (4, 2), 2, 1, groups=3),
        [IMAGE],
        (3 * 16 * 16) * (6 // 3) * (4 * 2),  # inputs x outputs of a group x kernel
    ),
    "convolution in 1 dimension": (nn.Conv1d(8, 4, 3, groups=2), [TOKENS.mT], 4 * 3 * 4 * 3),
    "convolution in 3 dimensions": (
        nn.Conv3d(3, 2, 3),
        [IMAGE.unflatten(3, (4, 4))],
        (2 * 14 * 2 * 2) * 3 * 27,
    ),
    "einsum": (Function(lambda x: torch.einsum("nchw,ndhw->ncd", x, x)), [IMAGE], 3 * 3 * 256),
    "tensordot": (Function(lambda x: torch.tensordot(x, x, 2)), [IMAGE[0, 0]], 256),
    "matrix and vector": (Function(lambda x: x @ x[0]), [IMAGE[0, 0]], 16 * 16),
    "product added in place": (Function(lambda x: x.clone().addmm_(x, x)), [IMAGE[0, 0]], 16**3),
    "sum of products": (
        Function(lambda x: torch.addbmm(x[0], x, x)),
        [IMAGE[0]],
        3 * 16**3,
    ),
    "complex product": (Function(lambda x: x.cfloat() @ x.cfloat()), [IMAGE], 4 * 3 * 16**3),
    "lstm": (
        nn.LSTM(8, 16, 2, bidirectional=True),
        [SERIES],
        5 * 2 * (4 * 16 * (8 + 16) + 4 * 16 * (32 + 16)),  # 2 directions; layer 2 reads both
    ),
    "lstm with projection": (
        nn.LSTM(8, 16, proj_size=4),
        [SERIES],
        5 * (4 * 16 * (8 + 4) + 4 * 16),
    ),
    "packed lstm": (Function(packed, nn.LSTM(8, 16)), [TOKENS], (5 + 2) * 4 * 16 * (8 + 16)),
    "gru": (nn.GRU(8, 16, batch_first=True), [TOKENS], 5 * 3 * 16 * (8 + 16)),
    "rnn": (nn.RNN(8, 16), [SERIES], 5 * 16 * (8 + 16)),
    "lstm cell": (nn.LSTMCell(8, 16), [TOKENS[0]], 5 * 4 * 16 * (8 + 16)),
    "gru cell": (nn.GRUCell(8, 16), [TOKENS[0]], 5 * 3 * 16 * (8 + 16)),
    "multi-head attention": (
        Function(lambda m, x: m(x, x, x)[0], nn.MultiheadAttention(8, 2, batch_first=True).eval()),
        [TOKENS],
        SELF_ATTENTION,
    ),
    "encoder layer": (encoder(), [TOKENS], SELF_ATTENTION + 2 * 5 * 8 * 16),
    "bilinear": (nn.Bilinear(4, 5, 6), [torch.zeros(2, 4), torch.zeros(2, 5)], 2 * 6 * (4 + 1) * 5),
    "deformable convolution": (
        Function(deformed, torchvision.ops.DeformConv2d(3, 6, 3)),
        [IMAGE],
        (6 * 14 * 14) * 3 * (3 * 3),
    ),
    "affine grid": (
        Function(
            lambda x: functional.affine_grid(x[:, 0, :2, :3], (1, 3, 16, 16), align_corners=False)
        ),
        [IMAGE],
        16 * 16 * 2 * 3,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_macs_equal_a_count_by_hand(name):
    net, inputs, expected = BY_HAND[name]
    found = cost.survey(net, inputs)
    assert (found.macs, found.uncounted) == (expected, "")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", BY_HAND)
def test_a_profile_has_the_same_macs(name):
    net, inputs, expected = BY_HAND[name]
    assert sum(each.macs or 0 for each in operators(net, inputs)) == expected


# FlopCounterMode of torch has no formula for these, and counts 0 or a part only.
NOT_OF_TORCH = {
    *("complex product", "lstm", "packed lstm", "multi-head attention", "encoder layer"),
    *("bilinear", "deformable convolution", "affine grid", "matrix and vector"),
    *("sum of products", "product added in place", "tensordot"),
}


@pytest.mark.parametrize("name", [name for name in BY_HAND if name not in NOT_OF_TORCH])
def test_macs_equal_the_count_of_torch(name):
    net, inputs, expected = BY_HAND[name]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(*inputs)
    assert counter.get_total_flops() == 2 * expected


@torch.library.custom_op("bench_tests::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    return x @ x


@product.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("bench_tests::known_product", mutates_args=())
def known_product(x: torch.Tensor) -> torch.Tensor:
    return x @ x


@known_product.register_fake
def _(x):
    return torch.empty_like(x)


UNKNOWN = {
    "_fft_r2c": torch.fft.rfft2,
    "_cdist_forward": lambda x: torch.cdist(x, x),
    "linalg_inv_ex": torch.linalg.inv_ex,
    "bench_tests::product": lambda x: product(x),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_macs_of_an_operator_without_a_formula_are_unknown(name):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), Function(UNKNOWN[name]))
    found = cost.survey(net, [torch.eye(16).expand(1, 3, 16, 16)])
    assert found.macs is None
    assert found.uncounted == f"no formula for the multiply-accumulates of {name}"
    assert found.activation_bytes > 0
    assert found.convolutions == 1
    assert operators(net, [IMAGE + torch.eye(16)])[-1].macs is None


def test_a_formula_that_the_user_registered_with_torch_counts():
    name = torch.ops.bench_tests.known_product
    register_flop_formula(name)(lambda x, *_, **__: 2 * 3 * 16**3)
    assert cost.survey(Function(lambda x: known_product(x)), [IMAGE]).macs == 3 * 16**3


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
def test_a_quantised_layer_is_unknown():
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    found = cost.survey(
        torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, torch.qint8), [IMAGE]
    )
    assert found.macs is None
    assert "quantized::linear_dynamic" in found.uncounted


@pytest.mark.parametrize(
    "run",
    [
        *(
            torch.erf,
            torch.Tensor.floor_,
            functional.hardswish,
            functional.softplus,
            functional.elu,
        ),
        lambda x: functional.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda x: functional.grid_sample(
            x, x[:, 0, :, :2, None].mT.expand(1, 16, 2, 2), align_corners=False
        ),
        lambda x: functional.unfold(x, 3),
        lambda x: x.sort().values.cumsum(2).var(3),
        lambda x: functional.pad(x, (1, 1, 1, 1), "reflect")[:, [0, 2]].masked_fill(
            x[:1, :1, :1, :1] > 0, 1
        ),
        lambda x: functional.rms_norm(functional.group_norm(x, 3), (16,)),
        lambda x: functional.local_response_norm(x, 2),
        lambda x: functional.normalize(x).repeat(1, 2, 1, 1).flip(2).tril(),
        lambda x: torch.cat([torch.zeros_like(x), torch.full_like(x, 3)]).unfold(3, 2, 2),
    ],
)
def test_elementwise_operators_pooling_and_copies_have_no_macs(run):
    found = cost.survey(Function(run), [IMAGE])
    assert (found.macs, found.uncounted) == (0, "")


def test_no_operator_is_both_with_a_formula_and_without_macs():
    assert not formulas.WITHOUT_MACS & formulas.FORMULAS.keys()

import pytest
import torch
from torch import nn

from bench import models
from bench.models import cost
from bench.models.operators import category, operators


@pytest.mark.parametrize(
    "name", ["repnext_u3_t", "repnext_u1_t", "convnext_t", "swin_t", "deit_s", "mobilenetv3_l"]
)
def test_macs_of_the_operators_add_up_to_count_macs(name):
    resolution = 32 if name not in ("swin_t", "deit_s") else 224
    net = models.build(name, resolution=resolution)
    found = operators(net, [torch.randn(1, 3, resolution, resolution)])
    assert sum(each.macs or 0 for each in found) == cost.count_macs(net, resolution)


def test_macs_and_bytes_grow_with_the_batch():
    net = models.build("resnet50", resolution=32)
    one, four = (operators(net, [torch.randn(n, 3, 32, 32)]) for n in (1, 4))
    assert sum(o.macs or 0 for o in four) == 4 * sum(o.macs or 0 for o in one)
    assert sum(o.bytes for o in one) < sum(o.bytes for o in four) < 4 * sum(o.bytes for o in one)


def test_an_operator_has_the_path_of_the_module_that_calls_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.point = nn.Conv2d(4, 8, 1)

        def forward(self, x):
            return self.point(x + self.conv(x)).flatten(1)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Block()).eval()
    found = operators(net, [torch.randn(2, 3, 8, 8)])
    assert [(o.name, o.module, o.category) for o in found] == [
        ("conv2d", "0", "other conv"),
        ("conv2d", "1.conv", "depthwise or group conv"),
        ("add", "1", "addition"),
        ("conv2d", "1.point", "pointwise conv"),
        ("flatten", "1", "dimension transform"),
    ]
    assert found[0].macs == 2 * 4 * 6 * 6 * 27
    assert found[1].macs == 2 * 4 * 6 * 6 * 9
    assert found[2].bytes == 3 * 2 * 4 * 36 * 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", "fully connected"),
        ("bmm", "attention"),
        ("scaled_dot_product_attention", "attention"),
        ("layer_norm", "layer norm"),
        ("batch_norm", "batch norm"),
        ("permute", "dimension transform"),
        ("adaptive_avg_pool2d", "pooling"),
        ("mul", "other"),
    ],
)
def test_category_by_the_name_of_the_operator(name, expected):
    assert category(name, []) == expected


def test_a_copy_moves_bytes_and_a_view_does_not():
    class Copies(nn.Module):
        def forward(self, x):
            return x.transpose(2, 3).contiguous().reshape(1, -1)

    found = operators(Copies(), [torch.randn(1, 3, 8, 8)])
    assert [(o.name, o.bytes) for o in found] == [
        ("transpose", 0),
        ("contiguous", 2 * 3 * 64 * 4),
        ("reshape", 0),
    ]


def test_bytes_of_a_copy_are_read_once_and_written_once():
    class Copies(nn.Module):
        def forward(self, x):
            y = torch.empty(1, 3, 8, 8)
            y.copy_(x)
            y.fill_(2)
            return y.clone().to(torch.float64)

    image = 3 * 64 * 4
    found = operators(Copies(), [torch.randn(1, 3, 8, 8)])
    assert [(o.name, o.bytes) for o in found[1:]] == [
        ("copy_", 2 * image),
        ("fill_", image),
        ("clone", 2 * image),
        ("to", 3 * image),
    ]


def test_layers_with_products_keep_their_macs_and_category():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 8, 2, 2)
            self.group = nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
            self.down = nn.Conv2d(8, 8, 8, 8)
            self.weight = nn.Parameter(torch.ones(8, 8))
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.lstm = nn.LSTM(8, 8, batch_first=True)

        def forward(self, x):
            x = self.down(self.group(self.up(x)))
            x = torch.einsum("nchw,dc->nhwd", x, self.weight).flatten(1, 2)  # (N, 16, 8)
            return self.lstm(self.layer(x))[0]

    found = operators(Odd().eval(), [torch.randn(1, 3, 8, 8)])
    assert [(o.name, o.module, o.category, o.macs) for o in found if o.macs] == [
        ("conv_transpose2d", "up", "other conv", 3 * 8 * 8 * 8 * 4),
        ("conv_transpose2d", "group", "depthwise or group conv", 8 * 16 * 16 * 4),
        ("conv2d", "down", "other conv", 8 * 4 * 4 * 8 * 64),
        ("einsum", "", "fully connected", 16 * 8 * 8),
        (
            "_transformer_encoder_layer_fwd",
            "layer",
            "attention",
            4 * 16 * 8 * 8 + 2 * 16 * 16 * 8 + 2 * 16 * 8 * 16,
        ),
        ("lstm", "lstm", "fully connected", 16 * 4 * 8 * (8 + 8)),
    ]


def test_listing_operators_leaves_no_hook_behind():
    operators(nn.Sequential(nn.ReLU()), [torch.randn(1, 3, 8, 8)])
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_a_product_with_a_parameter_is_fully_connected():
    weight = nn.Parameter(torch.ones(2, 2))
    assert category("matmul", [torch.ones(2, 2), weight]) == "fully connected"
    assert category("mean", [torch.ones(2, 2)]) == "other"
    assert category("mean", [torch.ones(2, 2, 2, 2)]) == "pooling"


def test_merged_forms_of_repnext_call_fewer_operators():
    images = torch.randn(1, 3, 32, 32)

    def count(form, kind):
        net = models.build("repnext_u3_t", form, resolution=32)
        return sum(each.category == kind for each in operators(net, [images]))

    assert [count(form, "batch norm") for form in ("train", "rrep", "srep")] == [59, 0, 0]
    assert [count(form, "addition") for form in ("train", "rrep", "srep")] == [54, 18, 0]

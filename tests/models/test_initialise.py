"""New networks are drawn so that every layer matters and rounding does not."""

import pytest
import torch
from support.conditioning import gain
from support.sabotage import norms_by_name
from torch import nn

from bench import models
from bench.models.initialise import initialise, random_images


class Scaled(nn.Module):
    """A residual branch whose scale is new."""

    def __init__(self, shape):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.scale = nn.Parameter(torch.full(shape, 1e-5))

    def forward(self, x):
        return x + self.scale * self.norm(self.conv(x))


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1)])
def test_a_new_scale_is_drawn_whatever_its_shape(shape):
    net = Scaled(shape)
    initialise(net, 8, random_images, draw_scales=True)
    assert net.scale.min() >= 0.1


def test_a_zero_bias_of_a_convolution_is_drawn_and_another_one_kept():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    with torch.no_grad():
        net[0].bias.zero_()
    kept = net[1].bias.clone()
    initialise(net, 8, random_images, draw_scales=True)
    assert net[0].bias.all()
    assert torch.equal(net[1].bias, kept)


def test_the_second_of_two_layer_norms_changes_the_output():
    net, images = nn.Sequential(nn.LayerNorm(8), nn.LayerNorm(8)), torch.randn(2, 8)
    assert torch.allclose(net(images), net[0](images), atol=1e-4)
    initialise(net, 8, random_images, draw_scales=True)
    assert (net(images) - net[0](images)).abs().max() > 0.1


def test_weights_of_a_user_are_kept():
    net = nn.Sequential(Scaled((3, 1, 1)), nn.LayerNorm(8))
    with torch.no_grad():
        net[0].conv.bias.zero_()
    initialise(net, 8, random_images, draw_scales=False)
    assert net[0].scale.max() < 1e-4
    assert not net[0].conv.bias.any()
    assert net[1].weight.eq(1).all()


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("timm/levit_128s", 224),
        ("timm/efficientvit_m0", 224),
        pytest.param("timm/efficientvit_m5", 224, marks=pytest.mark.slow),
        pytest.param("timm/levit_384", 224, marks=pytest.mark.slow),
    ],
)
def test_attention_does_not_magnify_a_small_change(name, resolution):
    net = models.build(name, resolution=resolution)
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, resolution, resolution, generator=rng)
    with torch.inference_mode():
        assert gain(net.double(), images) < 20
    assert norms_by_name(net)

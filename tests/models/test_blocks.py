"""Blocks of networks from elsewhere are merged by their own methods, whatever these do."""

import copy

import pytest
import torch
from support.networks import Doubling
from support.tensors import assert_same, assert_same_weights, norms_of, randn, randomise
from timm.models.byobnet import RepVggBlock
from torch import nn

from bench import models
from bench.errors import UsageError
from bench.models import forms
from bench.models.fuse import can_merge, forms_of, fuse_with_notes


def fold(conv, norm):
    """Fold in the data type of the weights, as many libraries do."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    made = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    made.weight.copy_(conv.weight * scale[:, None, None, None])
    made.bias.copy_(norm.bias + (conv.bias - norm.running_mean) * scale)
    return made


class Block(nn.Module):
    """A convolution and its BatchNorm; `fx` cannot trace it, so only its method can merge it."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        if x.shape[-1] % 32:
            x = x.relu()
        return self.bn(self.conv(x)).tanh()

    def merge(self):
        self.conv, self.bn = fold(self.conv, self.bn), nn.Identity()


class Returns(Block):
    def fuse(self):
        self.merge()
        return nn.Sequential(self.conv, nn.Tanh())


class InPlace(Block):
    def fuse(self):
        self.merge()


class ReturnsSelf(Block):
    def fuse(self, verbose=True, *more, **others):
        self.merge()
        return self


class Reparameterize(Block):
    reparameterize = Block.merge


class SwitchToDeploy(Block):
    switch_to_deploy = Block.merge


class MergeKernel(Block):
    merge_kernel = Block.merge


class AnotherForward(Block):
    """After the merge, another method of the object is its forward."""

    def fuse(self):
        self.merge()
        self.forward = self.forward_fused

    def forward_fused(self, x):
        return self.conv(x.relu() if x.shape[-1] % 32 else x).tanh()


class FirstNeedsAnArgument(Block):
    """`fuse` joins two feature maps here; `switch_to_deploy` merges."""

    def fuse(self, other):
        return torch.cat([self(other), other], 1)

    switch_to_deploy = Block.merge


class FirstFails(Block):
    def fuse(self):
        self.merge()
        raise NotImplementedError("not in this version")

    switch_to_deploy = Block.merge


class OnlyInFloat32(Block):
    """The method mixes in a tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.one = torch.ones(1, 3, 8, 8)

    def fuse(self):
        nn.functional.conv2d(self.one, self.conv.weight)
        self.merge()


MERGING = [
    *(Returns, InPlace, ReturnsSelf, Reparameterize, SwitchToDeploy, MergeKernel),
    *(AnotherForward, FirstNeedsAnArgument, FirstFails, OnlyInFloat32),
]


@torch.no_grad()
@pytest.mark.parametrize("block", MERGING)
@pytest.mark.parametrize("is_root", [True, False], ids=["root", "part"])
def test_a_block_is_merged_by_its_method(block, is_root):
    net = randomise(block() if is_root else nn.Sequential(block(), nn.ReLU(), block())).float()
    x = randn(2, 3, 32, 32).float()
    before, expected = copy.deepcopy(net), net(x)
    assert forms_of(net) == forms.of(forms.MERGING)
    fused = models.fuse(net, "rrep")
    assert_same(fused(x), expected, 1e-5)
    assert not norms_of(fused)
    assert not any(module.training for module in fused.modules())
    assert {tensor.dtype for tensor in fused.state_dict().values()} == {torch.float32}
    assert_same_weights(net, before)
    assert torch.equal(net(x), expected)


@torch.no_grad()
@pytest.mark.parametrize("block", [Returns, InPlace])
def test_a_block_is_merged_in_float64_even_if_it_creates_layers_of_the_default_type(block):
    net = randomise(block())
    x = randn(2, 3, 32, 32)
    assert_same(models.fuse(net, "rrep")(x), net(x), 1e-12)
    assert torch.get_default_dtype() == torch.float32
    single = copy.deepcopy(net).float()
    merged = models.fuse(single, "rrep")
    assert_same_weights(merged, models.fuse(copy.deepcopy(single).double(), "rrep").float())


class NoParameters(nn.Module):
    """Two branches without a parameter."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList([nn.Identity(), nn.Identity()])

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)

    def reparameterize(self):
        return Doubling()


def test_a_block_without_parameters_is_merged():
    net = nn.Sequential(NoParameters(), NoParameters())
    fused = models.fuse(net, "rrep")
    assert [type(part) for part in fused] == [Doubling, Doubling]
    assert torch.equal(fused(torch.ones(3)), net(torch.ones(3)))
    assert fuse_with_notes(net, "rrep").notes == []


class LayerNamedFuse(nn.Module):
    """`fuse` is a layer, `merge_kernel` a tensor, and `reparameterize` a function of no class."""

    def __init__(self):
        super().__init__()
        self.fuse = nn.Conv2d(3, 3, 1)
        self.merge_kernel = nn.Parameter(torch.ones(1))
        self.reparameterize = lambda: None

    @staticmethod
    def switch_to_deploy():
        raise AssertionError("this is no method of the module")

    def forward(self, x):
        return self.fuse(x) * self.merge_kernel


class Neck(nn.Module):
    """`fuse(x)` joins two feature maps."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def fuse(self, x):
        return self.bn(self.conv(x)) + x

    def forward(self, x):
        return self.fuse(x)


@pytest.mark.parametrize("layer", [LayerNamedFuse, Neck])
def test_other_things_with_the_name_of_a_method_do_not_make_a_form(layer):
    net = nn.Sequential(layer(), nn.ReLU())
    assert not can_merge(net)
    assert forms_of(net) == (forms.ONLY,)


@torch.no_grad()
@pytest.mark.parametrize("layer", [LayerNamedFuse, Neck])
def test_other_things_with_the_name_of_a_method_do_not_prevent_a_merge(layer):
    net = randomise(nn.Sequential(layer(), InPlace()))
    x = randn(2, 3, 32, 32)
    fused, notes = fuse_with_notes(net, "rrep", [x])
    assert_same(fused(x), net(x))
    assert not norms_of(fused)
    assert any("Neck.fuse(x) needs an argument" in note for note in notes) == (layer is Neck)


class Fails(Block):
    def reparameterize(self):
        del self.conv
        raise RuntimeError("no kernel in /home/somebody/kernels.pt")


class ReturnsTensor(Block):
    def fuse(self):
        return self.conv.weight


@torch.no_grad()
def test_a_method_that_fails_leaves_its_block_and_is_named():
    net = randomise(nn.Sequential(InPlace(), Fails(), ReturnsTensor(), nn.Sequential(Fails())))
    x = randn(2, 3, 32, 32)
    fused, notes = fuse_with_notes(net, "rrep")
    assert_same(fused(x), net(x))
    assert len(norms_of(fused)) == 3
    assert notes[:2] == [
        "Not merged: 1, 3.0: Fails.reparameterize() failed with "
        "RuntimeError: no kernel in kernels.pt.",
        "Not merged: 2: ReturnsTensor.fuse() failed with "
        "TypeError: it returns Parameter, not a module.",
    ]
    assert len(notes) == 3
    assert notes[2].startswith("3 BatchNorms are not folded (1.bn, 2.bn, 3.0.bn), because ")
    assert "torch.fx cannot trace" in notes[2]


def test_a_form_is_refused_with_the_reasons_only_if_nothing_is_merged():
    with pytest.raises(UsageError, match="nothing in this Fails can be merged") as refused:
        models.fuse(Fails(), "rrep")
    assert "no kernel" in str(refused.value)
    assert "torch.fx cannot trace" in str(refused.value)
    with pytest.raises(UsageError, match="already merged"):
        models.fuse(models.fuse(nn.Sequential(RepVggBlock(3, 3)), "rrep"), "rrep")


class Outer(nn.Module):
    """Merges its first part itself; a second merge of it would be wrong."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Rescaled(), InPlace()

    def forward(self, x):
        return self.second(self.first(x))

    def fuse(self):
        self.first.fuse()
        return self


class Rescaled(nn.Module):
    """Folds a factor into its weights, without a look at whether it has done so."""

    def __init__(self):
        super().__init__()
        self.conv, self.factor = nn.Conv2d(3, 3, 1), nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.factor * self.conv(x)

    def fuse(self):
        self.conv.weight.mul_(self.factor)
        self.conv.bias.mul_(self.factor)
        self.factor.fill_(1.0)
        self.conv.bias.add_(1e-3 * (self.factor - 1))


class Squared(Rescaled):
    """A method that is not idempotent: a second call changes the function."""

    def fuse(self):
        if not hasattr(self, "done"):
            super().fuse()
            self.done = True
        else:
            self.conv.weight.mul_(3)


@torch.no_grad()
def test_what_a_method_has_merged_is_not_merged_again_but_the_rest_is():
    net = Outer()
    net.first = Squared()
    net = randomise(net)
    x = randn(2, 3, 32, 32)
    fused = models.fuse(nn.Sequential(net), "rrep")
    assert_same(fused(x), net(x))
    assert not norms_of(fused)


@torch.no_grad()
def test_a_block_that_is_used_twice_stays_one_block():
    block = InPlace()
    net = randomise(nn.Sequential(block, nn.Sequential(block)))
    x = randn(2, 3, 32, 32)
    fused = models.fuse(net, "rrep")
    assert_same(fused(x), net(x))
    assert fused[0] is fused[1][0]


class Complex(Block):
    """A block with a complex, an integer and a float32 buffer next to its float64 weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.tensor(1j))
        self.register_buffer("i", torch.tensor(3))

    fuse = Block.merge


@torch.no_grad()
def test_the_data_types_of_other_tensors_are_kept():
    net = Complex().eval()
    net.register_buffer("wide", torch.ones(1, dtype=torch.float64))
    merged = models.fuse(net, "rrep")
    types = {name: tensor.dtype for name, tensor in merged.state_dict().items()}
    assert types == {
        **{"conv.weight": torch.float32, "conv.bias": torch.float32},
        **{"w": torch.complex64, "i": torch.int64, "wide": torch.float64},
    }

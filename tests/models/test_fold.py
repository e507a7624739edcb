"""A BatchNorm is folded only where that is exact; the others remain, with a reason."""

import pytest
import torch
from support.tensors import assert_same, norms_of, randn, randomise
from timm.layers import BatchNormAct2d
from torch import nn

from bench import models
from bench.models.fold import fold_batchnorms
from bench.models.fuse import fuse_with_notes


class Base(nn.Module):
    """Two convolutions, two BatchNorms."""

    def __init__(self):
        super().__init__()
        self.a, self.bn_a = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.b, self.bn_b = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def fold_a(self, x):
        return self.bn_a(self.a(x))


class Reused(Base):
    def forward(self, x):
        return self.bn_a(self.a(x)) + self.bn_b(self.a(x.relu()))


class NormReused(Base):
    def forward(self, x):
        return self.bn_a(self.b(self.bn_a(self.a(x)).relu()))


class ReadElsewhere(Base):
    def forward(self, x):
        y = self.a(x)
        return self.bn_a(y) + self.b(y)


class Returned(Base):
    def forward(self, x):
        y = self.a(x)
        return self.bn_a(y), y


class Changed(Base):
    def forward(self, x):
        y = self.a(x)
        return self.bn_a(y.relu_())


class WeightRead(Base):
    def forward(self, x):
        return self.bn_a(self.a(x)) + nn.functional.conv2d(x, self.a.weight, padding=1)


class StatisticsRead(Base):
    def forward(self, x):
        return self.bn_a(self.a(x)) + self.bn_a.running_mean.sum()


class AfterAddition(Base):
    def forward(self, x):
        return self.bn_a(self.a(x) + x)


class NotCalled(Base):
    def forward(self, x):
        return self.a(x)


class Squashed(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).tanh()


class Shifted(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu() + 1


def hooked(net):
    net[0].register_forward_hook(lambda module, arguments, output: output.relu())
    return net


def pair(conv=None, norm=None):
    return nn.Sequential(conv or nn.Conv2d(3, 3, 3), norm or nn.BatchNorm2d(3))


KEPT = {
    "reused": (Reused, 2, "called more than once"),
    "norm reused": (NormReused, 1, "called more than once"),
    "read elsewhere": (ReadElsewhere, 1, "something else reads the convolution"),
    "returned": (Returned, 1, "something else reads the convolution"),
    "changed": (Changed, 1, ("no Conv2d comes directly before", "something else reads")),
    "weight read": (WeightRead, 1, "reads their weights"),
    "statistics read": (StatisticsRead, 1, "reads their weights"),
    "after an addition": (AfterAddition, 1, "no Conv2d comes directly before"),
    "not called": (NotCalled, 1, "does not call them"),
    "subclass": (lambda: pair(Squashed(3, 3, 3)), 1, "a class or a hook of their own"),
    "norm subclass": (lambda: pair(norm=Shifted(3)), 1, "a class or a hook of their own"),
    "hook": (lambda: hooked(pair()), 1, "a class or a hook of their own"),
    "dilated": (lambda: pair(nn.Conv2d(3, 3, 3, dilation=2)), 1, "is dilated"),
    "same": (lambda: pair(nn.Conv2d(3, 3, 3, padding="same")), 1, "padding of zeros"),
    "batch": (
        lambda: pair(norm=nn.BatchNorm2d(3, track_running_stats=False)),
        *(1, "statistics are those of the batch"),
    ),
}


class Untraceable(nn.Module):
    """A network around another one, that `torch.fx` cannot trace."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x if x.shape[-1] % 32 else x.abs())


def outputs(net, x):
    found = net(x)
    return torch.cat([each.flatten() for each in (found if isinstance(found, tuple) else [found])])


@torch.no_grad()
@pytest.mark.parametrize("is_traced", [True, False], ids=["traced", "watched"])
@pytest.mark.parametrize("name", KEPT)
def test_a_pair_that_cannot_be_folded_remains_with_the_reason(name, is_traced):
    build, kept, why = KEPT[name]
    net = randomise(nn.Sequential(pair(nn.Conv2d(3, 3, 1)), build()))
    net = net if is_traced else Untraceable(net)
    x = randn(2, 3, 9, 9)
    expected = outputs(net, x)
    folded = fold_batchnorms(net, [x])
    assert_same(outputs(net, x), expected)
    assert folded.total == 1
    reasons = (why,) if isinstance(why, str) else why  # traced, watched
    assert reasons[0 if is_traced else -1] in " ".join(folded.notes)
    assert len(norms_of(net)) >= kept


@torch.no_grad()
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_network_that_cannot_be_traced_is_folded_as_an_example_runs(mode):
    net = randomise(Untraceable(nn.Sequential(pair(), nn.ReLU(), pair(norm=BatchNormAct2d(3)))))
    x = randn(2, 3, 32, 32)
    expected = net(x)
    with mode():
        folded = fold_batchnorms(net, [x[:1].clone()])
    assert folded == (2, [])
    assert not norms_of(net)
    assert_same(net(x), expected)


def test_without_an_example_a_network_that_cannot_be_traced_keeps_its_batchnorms():
    net = Untraceable(pair()).eval()
    folded = fold_batchnorms(net)
    assert folded.total == 0
    (note,) = folded.notes
    assert note.startswith("1 BatchNorm is not folded (net.1), because torch.fx cannot trace the ")
    assert "no example input" in note
    (note,) = fold_batchnorms(net, [torch.ones(1, 4, 8, 8)]).notes
    assert "it cannot be run on the example input (RuntimeError: " in note


class Caches(nn.Module):
    """Keeps what it computes, and reads intermediate outputs of a Sequential."""

    def __init__(self):
        super().__init__()
        self.layers, self.seen = nn.Sequential(pair(), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)), None

    def forward(self, x):
        if self.seen is None:
            self.seen = x.mean()
        for layer in self.layers:
            x = layer(x)
        return x * self.seen


@torch.no_grad()
@pytest.mark.parametrize("wrap", [nn.Sequential, Untraceable])
def test_looking_at_a_network_leaves_nothing_in_it(wrap):
    caches = Caches()
    net = randomise(wrap(caches))
    fold_batchnorms(net, [torch.ones(1, 3, 9, 9, dtype=torch.float64)])
    assert caches.seen is None
    assert not norms_of(net)


class ReadsParts(nn.Module):
    """Reads the outputs of a Sequential's parts, some of which a BatchNorm follows."""

    def __init__(self, looks_at):
        super().__init__()
        self.layers, self.looks_at = nn.Sequential(*pair(), *pair()), looks_at

    def forward(self, x):
        taps = [x.new_zeros(1)]
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in self.looks_at and x.shape[-1] > 1:
                taps.append(x.sum())
        return x.sum() + sum(taps)


@torch.no_grad()
def test_an_output_that_the_network_around_reads_is_not_folded_away():
    net = randomise(ReadsParts({0, 3}))
    x = randn(2, 3, 9, 9)
    expected = net(x)
    assert fold_batchnorms(net, [x]).total == 1
    assert [type(layer).__name__ for layer in net.layers][1::2] == ["BatchNorm2d", "Identity"]
    assert_same(net(x), expected)


class RegisteredTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = pair()
        self.conv, self.bn = self.parts

    def forward(self, x):
        return self.bn(self.conv(x))


@torch.no_grad()
@pytest.mark.parametrize("wrap", [nn.Sequential, Untraceable])
def test_a_module_that_is_registered_twice_is_replaced_in_both_places(wrap):
    net = randomise(wrap(RegisteredTwice()))
    x = randn(1, 3, 9, 9)
    expected = net(x)
    assert fold_batchnorms(net, [x]).total == 1
    assert not norms_of(net)
    assert_same(net(x), expected)


class Scripted(Base):
    """A scripted part reads the convolution."""

    def __init__(self):
        super().__init__()
        self.part = torch.jit.script(nn.ReLU())

    def forward(self, x):
        y = self.a(x)
        return self.part(y) + self.bn_a(y)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_part_is_a_reader_too():
    net = randomise(Untraceable(Scripted()))
    x = randn(1, 3, 9, 9)
    expected = net(x)
    assert fold_batchnorms(net, [x]).total == 0
    assert_same(net(x), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "kept"), [("fastvit_sa12", "stages.3.blocks.1.norm"), ("nextvit_small", "(norm)")]
)
def test_a_family_that_keeps_batchnorms_says_so(name, kept):
    with torch.device("meta"):
        fused, notes = fuse_with_notes(models.build(f"timm/{name}"), "rrep")
    assert norms_of(fused)
    assert kept in " ".join(notes)
    assert "no Conv2d comes directly before" in " ".join(notes)

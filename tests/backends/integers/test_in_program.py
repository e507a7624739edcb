"""Networks in 8-bit integers: made of a program of `torch.export`, and refused if it is wrong."""

import copy
from operator import attrgetter

import pytest
import torch
from support import networks
from support.runtimes import needs_executorch
from torch import nn

from bench.backends import program
from bench.backends.integers import in_program, program_check
from bench.backends.program import ExportError

pytestmark = needs_executorch
SIZE = 16
REFUSED = "is not that of the network after it was quantised"


def quantised(net, calls):
    """Return the file of a network, and what was checked: its program before and after."""
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_check, "check", lambda *given: kept.append(given))
        content = program.exported(
            lambda plain, inputs: in_program.quantised(plain, inputs, calls), net.eval(), calls[0]
        )
    return content, *kept[0][:2]


@pytest.fixture(scope="module")
def made(network, calls):
    return quantised(network, calls)


@pytest.fixture
def programs(made):
    """The program in integers, to be planted into, and the one that it was made of."""
    return copy.deepcopy(made[1]), made[2]


def is_read(node):
    return str(node.target).startswith(program_check.DEQUANTISE)


def of_addition(of_integers):
    """Return the node that reads the integers of the addition's first operand."""
    (node,) = (each for each in of_integers.graph.nodes if "add.Tensor" in str(each.target))
    assert all(map(is_read, node.args))
    return node.args[0]


def with_grid(read, scale, zero):
    """Quantise a value with another scale and zero, and let all its readers have the same ones."""
    for node in (read.args[0], *read.args[0].users):
        node.args = (node.args[0], scale, zero, *node.args[3:])


def conv_of(of_integers):
    return next(each for each in of_integers.graph.nodes if "conv2d" in str(each.target))


def test_a_right_program_is_right(programs, calls):
    program_check.check(*programs, calls)


def test_products_and_the_residual_addition_are_in_integers(made):
    nodes = list(made[1].graph.nodes)
    for word, count in (("conv2d", 2), ("linear", 1)):
        products = [each for each in nodes if word in str(each.target)]
        assert len(products) == count
        assert all(is_read(taken) for each in products for taken in each.args[:2])
    of_addition(made[1])
    (gelu,) = (each for each in nodes if "gelu" in str(each.target))
    assert is_read(gelu.args[0])


def test_executed_literally_it_answers_nearly_as_the_network(network, made, calls):
    with torch.inference_mode():
        wanted, found = network(*calls[0]), in_program.literal(made[0], calls[0])()
    error = (found - wanted).abs().max() / wanted.abs().max()
    assert 0 < error < 0.2


@pytest.mark.parametrize("factor", [0.5, 0.99, 1.5, 2.0])
def test_an_addition_of_mismatched_scales_is_refused(programs, calls, factor):
    read = of_addition(programs[0])
    read.args = (read.args[0], factor * read.args[1], *read.args[2:])
    with pytest.raises(ExportError, match=f"{REFUSED}: it is read with another scale or zero"):
        program_check.check(*programs, calls)


def test_a_scale_that_cuts_values_off_is_refused(programs, calls):
    read = of_addition(programs[0])
    with_grid(read, read.args[1] / 8, read.args[2])
    with pytest.raises(ExportError, match=f"{REFUSED}: signal / noise is"):
        program_check.check(*programs, calls)


def test_a_sign_that_is_lost_is_refused(programs, calls):
    """The image has as many negative values as others: its zero becomes the smallest integer."""
    read = conv_of(programs[0]).args[0]
    with_grid(read, read.args[1], read.args[3])
    with pytest.raises(ExportError, match=f"{REFUSED}: signal / noise is"):
        program_check.check(*programs, calls)


@pytest.mark.parametrize("factor", [0.95, 1.05, 2.0])
@pytest.mark.parametrize("channels", [1, 8])
def test_a_wrong_scale_of_a_weight_is_refused(programs, calls, factor, channels):
    scales = attrgetter(conv_of(programs[0]).args[1].args[1].target)(programs[0])
    scales[:channels] *= factor
    with pytest.raises(ExportError, match=f"{REFUSED}: a weight is not rounded to its grid"):
        program_check.check(*programs, calls)


def test_swapped_channels_of_a_weight_are_refused(programs, calls):
    integers = attrgetter(conv_of(programs[0]).args[1].args[0].target)(programs[0])
    integers.copy_(integers.flip(0))
    with pytest.raises(ExportError, match=f"{REFUSED}: a weight is not rounded to its grid"):
        program_check.check(*programs, calls)


def test_a_value_that_nothing_observed_is_refused(programs, calls):
    with pytest.raises(ExportError, match="no value of the network belongs to it"):
        program_check.check(programs[0], programs[0], calls)


def test_a_constant_beside_an_activation_is_checked(calls):
    """A token of its own for each image, as in ViT: the network computes it of a weight."""

    def with_token(self, x):
        token = self.token.expand(len(x), -1, -1, -1)
        return self.head(torch.cat([self.conv(x), token], 1))

    torch.manual_seed(0)
    token = nn.Parameter(torch.randn(1, 8, SIZE - 2, SIZE - 2))
    parts = {"token": token, "conv": nn.Conv2d(3, 8, 3), "head": networks.head()}
    _, of_integers, plain = quantised(networks.module(with_token, **parts), calls)
    program_check.check(of_integers, plain, calls)
    (joined,) = (each for each in of_integers.graph.nodes if "aten.cat" in str(each.target))
    read = joined.args[0][1]
    attrgetter(read.args[0].target)(of_integers).neg_()
    with pytest.raises(ExportError, match=f"{REFUSED}: signal / noise is"):
        program_check.check(of_integers, plain, calls)


def test_sums_and_products_with_a_constant_stay_in_floating_point(calls):
    """LayerScale, and the 1e-6 of a norm that is written by hand, which would become 0."""

    def scaled(self, x):
        x = self.gamma.view(1, -1, 1, 1) * self.conv(x)
        return self.head(x * (x * x + 1e-6))

    torch.manual_seed(0)
    parts = {"gamma": nn.Parameter(torch.randn(8)), "conv": nn.Conv2d(3, 8, 3)}
    net = networks.module(scaled, **parts, head=networks.head(8))
    _, of_integers, plain = quantised(net, calls)
    program_check.check(of_integers, plain, calls)
    of_gamma, *others = (each for each in of_integers.graph.nodes if "mul.T" in str(each.target))
    (addition,) = (each for each in of_integers.graph.nodes if "add.T" in str(each.target))
    assert len(others) == 2
    assert all(is_read(taken) for each in others for taken in each.args)
    assert not any(is_read(taken) for taken in (*of_gamma.args[:1], addition.args[1]))


def test_a_network_without_products_cannot_be_quantised(calls):
    programs = quantised(nn.Tanh(), calls)[1:]
    with pytest.raises(ExportError, match="no operator of the network can be quantised"):
        program_check.check(*programs, calls)

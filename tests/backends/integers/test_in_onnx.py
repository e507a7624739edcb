"""Networks in 8-bit integers: made of an ONNX file, and refused where a scale is wrong."""

import numpy as np
import pytest
import torch
from support import networks
from support.runtimes import needs_onnxruntime
from torch import nn

from bench.backends import onnx_file
from bench.backends.integers import in_onnx, literal_onnx, onnx_check
from bench.backends.program import ExportError

pytestmark = [needs_onnxruntime, pytest.mark.usefixtures("cache")]
SIZE = 16


@pytest.fixture(scope="module")
def of_onnx(network, calls, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    onnx_file.write(network, calls[0], onnx_file.DYNAMO, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def content(of_onnx, calls):
    return in_onnx.quantised(of_onnx, calls)


@pytest.fixture
def plain(of_onnx, calls, monkeypatch):
    """The network in floating point that was quantised."""
    kept = []
    monkeypatch.setattr(onnx_check, "check", lambda _, plain, __: kept.append(plain))
    in_onnx.quantised(of_onnx, calls)
    return kept[0]


def scale_of(proto, name):
    return next(each for each in proto.graph.initializer if each.name == name)


def scaled(proto, name, factor):
    """Multiply the scale of a node's values in the file."""
    from onnx import numpy_helper

    known = scale_of(proto, name)
    values = (numpy_helper.to_array(known) * factor).astype(np.float32)
    known.CopyFrom(numpy_helper.from_array(values, name))


def of_addition(proto):
    """The nodes before and after the first operand of the residual addition is quantised."""
    made_by = onnx_file.producers(proto)
    ends = {each.input[0]: each for each in proto.graph.node if each.op_type == "QuantizeLinear"}
    for node in proto.graph.node:
        if node.op_type == "Add" and all(
            each in made_by and made_by[each].op_type == "DequantizeLinear" for each in node.input
        ):
            after = made_by[node.input[0]]
            return made_by[after.input[0]], after
    raise AssertionError(f"no addition is quantised: {list(ends)}")


def test_products_and_the_residual_addition_are_in_integers(content):
    proto = onnx_file.parse(content)
    made_by = onnx_file.producers(proto)
    for node in proto.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
            assert made_by[node.input[1]].op_type == "DequantizeLinear"
    of_addition(proto)


def test_an_addition_of_a_constant_stays_as_it_is(tmp_path):
    """A runtime fuses the single operators of a GELU, unless one is quantised."""
    torch.manual_seed(0)
    like_gelu = networks.module(lambda _, x: x * (1 + torch.erf(x)))
    proto = quantise(nn.Sequential(nn.Conv2d(3, 8, 3), like_gelu, networks.head(8)), tmp_path)
    (erf,) = (node for node in proto.graph.node if node.op_type == "Erf")
    (plus_one,) = (node for node in proto.graph.node if erf.output[0] in node.input)
    assert plus_one.op_type == "Add"


def test_products_of_attention_stay_in_floating_point(tmp_path):
    """A softmax over many tokens is finer than 8 bits."""

    def attend(_, x):
        tokens = x.flatten(2).mT
        return ((tokens @ tokens.mT).softmax(-1) @ tokens).mean(1)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), networks.module(attend), nn.Linear(8, 10))
    proto = quantise(net, tmp_path)
    made_by = onnx_file.producers(proto)
    (softmax,) = (node for node in proto.graph.node if node.op_type == "Softmax")
    (product,) = (node for node in proto.graph.node if softmax.output[0] in node.input)
    assert product.op_type == "MatMul"
    assert made_by[softmax.input[0]].op_type == "MatMul"


def test_executed_literally_it_answers_nearly_as_the_network(network, content, calls):
    with torch.inference_mode():
        wanted = network(*calls[0])
    (found,) = literal_onnx.literal(content, calls[0])()
    error = (found - wanted).abs().max() / wanted.abs().max()
    assert 0 < error < 0.2


def test_a_right_file_is_right(content, plain, calls, monkeypatch):
    monkeypatch.undo()
    onnx_check.check(onnx_file.parse(content), plain, calls)


@pytest.mark.parametrize("factor", [0.5, 0.99, 1.5, 2.0])
def test_an_addition_of_mismatched_scales_is_refused(content, plain, calls, factor, monkeypatch):
    monkeypatch.undo()
    proto = onnx_file.parse(content)
    _, after = of_addition(proto)
    other = "another_scale"
    known = scale_of(proto, after.input[1])
    copied = proto.graph.initializer.add()
    copied.CopyFrom(known)
    copied.name = after.input[1] = other
    scaled(proto, other, factor)
    with pytest.raises(ExportError, match="is not that of the network after it was quantised"):
        onnx_check.check(proto, plain, calls)


def test_a_scale_that_cuts_values_off_is_refused(content, plain, calls, monkeypatch):
    monkeypatch.undo()
    proto = onnx_file.parse(content)
    before, after = of_addition(proto)
    assert before.input[1] == after.input[1]
    scaled(proto, before.input[1], 1 / 8)
    with pytest.raises(ExportError, match="is not that of the network after it was quantised"):
        onnx_check.check(proto, plain, calls)


@pytest.mark.parametrize("factor", [0.95, 1.05, 2.0])
@pytest.mark.parametrize("channels", [1, 8])
def test_a_wrong_scale_of_a_weight_is_refused(content, plain, calls, factor, channels, monkeypatch):
    monkeypatch.undo()
    proto = onnx_file.parse(content)
    made_by = onnx_file.producers(proto)
    conv = next(node for node in proto.graph.node if node.op_type == "Conv")
    factors = np.where(np.arange(8) < channels, factor, 1.0)
    scaled(proto, made_by[conv.input[1]].input[1], factors)
    with pytest.raises(ExportError, match="weight"):
        onnx_check.check(proto, plain, calls)


def test_a_sign_that_is_lost_is_refused(content, plain, calls, monkeypatch):
    """The zero of an activation with negative values becomes the integer 0."""
    from onnx import numpy_helper

    monkeypatch.undo()
    proto = onnx_file.parse(content)
    constants = {each.name: each for each in proto.graph.initializer}
    node = next(
        node
        for node in proto.graph.node
        if node.op_type == "QuantizeLinear"
        and numpy_helper.to_array(constants[node.input[2]]).any()
    )
    zero = constants[node.input[2]]
    zero.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero.name))
    with pytest.raises(ExportError, match="is not that of the network after it was quantised"):
        onnx_check.check(proto, plain, calls)


def quantise(net, tmp_path, size=SIZE):
    """Export a network and quantise it, on random images."""
    source = torch.Generator().manual_seed(2)
    images = [[torch.randn(1, 3, size, size, generator=source)] for _ in range(4)]
    path = tmp_path / "net.onnx"
    onnx_file.write(net.eval(), images[0], onnx_file.DYNAMO, path)
    return onnx_file.parse(in_onnx.quantised(path.read_bytes(), images))


def test_products_that_share_a_bias_are_right(tmp_path):
    """The exporter writes equal tensors once, as the biases of new networks, which are zero."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3),
        networks.head(8),
        nn.Linear(10, 10),
        nn.Linear(10, 10),
    )
    for layer in (net[0], net[1], net[3], net[4]):
        nn.init.zeros_(layer.bias)
    quantise(net, tmp_path)
    for layer in (net[0], net[1], net[3], net[4]):
        nn.init.constant_(layer.bias, 0.25)
    quantise(net, tmp_path)


def test_a_bias_below_the_step_of_its_integers_is_right(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), networks.head(8))
    nn.init.normal_(net[0].bias, std=1e-9)
    quantise(net, tmp_path)


def test_activations_with_bounds_are_right(tmp_path):
    """A bound becomes the end of the range: most values lie beyond it."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3)
    nn.init.constant_(conv.bias, 20.0)
    quantise(nn.Sequential(conv, nn.ReLU6(), networks.head(8)), tmp_path)
    quantise(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardtanh(-0.5, 0.5), networks.head(8)), tmp_path)


def test_the_file_has_no_traces_of_the_tools(content):
    proto = onnx_file.parse(content)
    assert list(proto.metadata_props) == []
    assert list(proto.graph.value_info) == []


def test_a_network_without_products_cannot_be_quantised(tmp_path, calls):
    path = tmp_path / "net.onnx"
    onnx_file.write(nn.Tanh(), calls[0], onnx_file.DYNAMO, path)
    with pytest.raises(ExportError, match="no operator of the network can be quantised"):
        in_onnx.quantised(path.read_bytes(), calls)


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [
        ("x86_64", "flags : avx2 fma", 7),
        ("x86_64", "flags : avx2 avx512_vnni", 8),
        ("x86_64", "flags : avx2 avx_vnni", 8),
        ("x86_64", None, 7),
        ("aarch64", "Features : asimd", 8),
    ],
)
def test_weights_have_7_bits_where_sums_of_products_would_not_fit(
    machine, flags, bits, monkeypatch, tmp_path
):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(flags)
    monkeypatch.setattr(in_onnx.platform, "machine", lambda: machine)
    monkeypatch.setattr(in_onnx, "Path", lambda _: path)
    assert in_onnx.weight_bits() == bits

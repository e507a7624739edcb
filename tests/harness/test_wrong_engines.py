"""An exported network that computes something else is refused, however fast it is.

Each fault is planted in the file itself or in what the runtime answers, so that each CPU can run
the test.
"""

import copy

import pytest
import torch
from support import networks
from support.runtimes import (
    AOTINDUCTOR,
    EACH,
    EACH_BUT_AOTINDUCTOR,
    EACH_OF_ONNX,
    needs_aotinductor,
    needs_executorch,
    needs_onnxruntime,
    needs_openvino,
)
from torch import nn

from bench.backends import BACKENDS, onnx_file, openvino, program
from bench.backends import onnxruntime as backend
from bench.harness.worker.check import CheckError

pytestmark = pytest.mark.usefixtures("cache", "without_probe")
EACH_RUNTIME = pytest.mark.parametrize("runtime", EACH)
BUT_AOTINDUCTOR = pytest.mark.parametrize("runtime", EACH_BUT_AOTINDUCTOR)
EACH_RUNTIME_OF_ONNX = pytest.mark.parametrize("runtime", EACH_OF_ONNX)
HALF = 65504.0  # the largest float16
LOUD = 500.0  # the square of such an activation is no float16


class Addition(nn.Module):
    def forward(self, x, y):
        return x + y


class Block(nn.Module):
    """What such networks consist of: BatchNorm, a residual addition, LayerNorm and GELU."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.branch = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.add = Addition()
        self.norm = nn.LayerNorm(8)
        self.act = nn.GELU()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.add(x, self.branch(x))
        x = self.norm(LOUD * x.permute(0, 2, 3, 1))
        return self.head(self.act(x)[:, ::4, ::4].flatten(1, 2).amax(1))


def block():
    torch.manual_seed(0)
    net = Block()
    nn.init.uniform_(net.stem[1].running_mean, -1, 1)
    return net


@pytest.fixture
def plant(monkeypatch, tmp_path):
    """A function that makes each network wrong that is exported later, if it has such a type."""

    def plant_it(make_wrong, dtypes=(torch.float32, torch.float16)):
        exported = program.exported

        def wrong(exporter, model, example, *device):
            if example[0].dtype in dtypes:
                model = make_wrong(copy.deepcopy(model))
            return exported(exporter, model, example, *device)

        monkeypatch.setattr(program, "exported", wrong)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "planted"))

    return plant_it


def prepared(make=block, runtime="onnxruntime", **changes):
    return networks.prepared(make, **{"backend": runtime, "resolution": 32, **changes})


def without_mean(net):
    net.stem[1].running_mean.zero_()
    return net


class OverflowingNorm(nn.Module):
    """A LayerNorm whose squares are float16, as on a chip that sums them there."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        squares = centred.float() ** 2
        squares = torch.where(squares > HALF, torch.inf, squares)
        scale = torch.rsqrt(squares.mean(-1, keepdim=True) + self.norm.eps).to(x.dtype)
        return centred * scale * self.norm.weight + self.norm.bias


def overflowing(net):
    net.norm = OverflowingNorm(net.norm)
    return net


class Int8Addition(nn.Module):
    """A residual addition whose second operand has another scale than the first."""

    def forward(self, x, y):
        first, second = x.abs().max() / 127, 1.5 * y.abs().max() / 127
        return torch.round(x / first) * first + torch.round(y / second) * (second / 1.5)


def mismatched(net):
    net.add = Int8Addition()
    return net


class Rounded(nn.Module):
    """A layer whose input is rounded to bfloat16."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.to(torch.bfloat16).float())


def in_bfloat16(net):
    net.stem, net.branch, net.head = map(Rounded, (net.stem, net.branch, net.head))
    return net


class Swapped(nn.Module):
    def __init__(self, net, swap):
        super().__init__()
        self.net, self.swap = net, swap

    def forward(self, x):
        return self.net(self.swap(x))


@BUT_AOTINDUCTOR
def test_a_right_file_is_not_refused(runtime):
    _, facts = prepared(runtime=runtime)
    assert facts.check.largest_relative_error <= facts.check.tolerance


@BUT_AOTINDUCTOR
@pytest.mark.parametrize(
    "make_wrong",
    [
        without_mean,
        mismatched,
        lambda net: Swapped(net, lambda x: x.flip(1)),
        lambda net: Swapped(net, lambda x: x.transpose(2, 3)),
    ],
    ids=["mean left out", "int8 scales", "channels", "rows"],
)
def test_a_wrong_file_is_refused(plant, make_wrong, runtime):
    plant(make_wrong)
    with pytest.raises(CheckError, match="differs from that of"):
        prepared(runtime=runtime)


@needs_aotinductor
@pytest.mark.aotinductor
def test_a_wrong_file_of_aotinductor_is_refused(plant):
    plant(without_mean)
    with pytest.raises(CheckError, match="differs from that of"):
        prepared(runtime="aotinductor")


@needs_onnxruntime  # OpenVINO leaves such rounding out, where the CPU has no bfloat16
@pytest.mark.parametrize(
    ("make_wrong", "dtype"),
    [(overflowing, "fp16"), (in_bfloat16, "fp32")],
    ids=["fp16 overflow", "bf16"],
)
def test_a_file_of_fewer_bits_is_refused(plant, make_wrong, dtype):
    _, facts = prepared(precision=dtype)
    assert facts.check.largest_relative_error <= facts.check.tolerance
    plant(make_wrong, [{"fp32": torch.float32, "fp16": torch.float16}[dtype]])
    with pytest.raises(CheckError, match="differs from that of"):
        prepared(precision=dtype)


@BUT_AOTINDUCTOR
def test_a_file_that_differs_only_on_smooth_images_is_refused(plant, runtime):
    """The average over the pixels of white noise is nearly 0."""
    plant(lambda net: Swapped(net, lambda x: x - 0.01 * x.mean((2, 3), keepdim=True)))
    with pytest.raises(CheckError, match="natural-looking images"):
        prepared(runtime=runtime, resolution=64)


def quiet_gelu(**settings):
    """A network whose GELU changes its output by less than the tolerance, whatever its formula."""
    net = nn.Sequential(networks.conv(), networks.head())
    net[0].register_forward_hook(lambda _, __, y: y + 1e-4 * nn.GELU(**settings)(y))
    return net


def by_tanh(net):
    net[0]._forward_hooks.clear()
    net[0].register_forward_hook(lambda _, __, y: y + 1e-4 * nn.GELU("tanh")(y))
    return net


@pytest.mark.parametrize("runtime", [*EACH_OF_ONNX, AOTINDUCTOR])
def test_a_gelu_by_tanh_in_the_file_is_refused(plant, runtime):
    prepared(quiet_gelu, runtime)
    plant(by_tanh)
    with pytest.raises(CheckError, match="1 GELUs by tanh, and the network 0"):
        prepared(quiet_gelu, runtime)


@needs_onnxruntime
def test_a_gelu_by_tanh_of_the_runtimes_optimiser_is_refused(monkeypatch):
    profiled = backend.Session._profiled

    def approximate(self, *arguments):
        content, nodes = profiled(self, *arguments)
        proto = onnx_file.parse(content)
        for node in proto.graph.node:
            node.op_type = {"Gelu": "FastGelu"}.get(node.op_type, node.op_type)
        return proto.SerializeToString(), nodes

    monkeypatch.setattr(backend.Session, "_profiled", approximate)
    with pytest.raises(CheckError, match="GELUs by tanh"):
        prepared(quiet_gelu)


@EACH_RUNTIME
def test_a_gelu_by_erf_is_refused_where_the_network_has_one_by_tanh(plant, runtime):
    def by_erf(net):
        net[0]._forward_hooks.clear()
        net[0].register_forward_hook(lambda _, __, y: y + 1e-4 * nn.GELU()(y))
        return net

    plant(by_erf)
    with pytest.raises(CheckError, match="1 GELUs by erf, and the network 0"):
        prepared(lambda: quiet_gelu(approximate="tanh"), runtime)


@BUT_AOTINDUCTOR
def test_a_network_that_computes_with_booleans_is_no_wrong_engine(runtime):
    def chosen(self, x):
        y = self.conv(x)
        return self.head(torch.where((y > 0) & ~(y > 1), y, -y))

    def make():
        torch.manual_seed(0)
        return networks.module(chosen, conv=networks.conv(), head=networks.head())

    assert "float" in prepared(make, runtime)[1].artifact.types


def mish():
    return nn.Sequential(nn.Mish(), networks.head(3))


@pytest.mark.parametrize("runtime", [*EACH_OF_ONNX, AOTINDUCTOR])
@pytest.mark.parametrize("make", [lambda: quiet_gelu(approximate="tanh"), mish])
def test_a_network_whose_own_activation_has_a_tanh_is_no_wrong_engine(make, runtime):
    _, facts = prepared(make, runtime)
    assert facts.artifact.types == ["float"]
    if make is not mish:  # which OpenVINO has an operator for
        assert facts.artifact.gelus.tanh == 1


@needs_executorch
def test_an_activation_with_bounds_is_no_wrong_engine():
    def make():
        torch.manual_seed(0)
        return nn.Sequential(networks.conv(), nn.ReLU(), nn.ReLU6(), networks.head())

    assert prepared(make, "executorch")[1].artifact.providers.keys() == {"XnnpackBackend"}


@needs_executorch
def test_executorch_computes_each_gelu_by_erf():
    with pytest.raises(CheckError, match="1 GELUs by erf, and the network 0"):
        prepared(lambda: quiet_gelu(approximate="tanh"), "executorch")
    assert prepared(quiet_gelu, "executorch")[1].artifact.gelus.erf == 1
    assert prepared(mish, "executorch")[1].artifact.types == ["float"]


@pytest.mark.parametrize("runtime", [each for each in EACH if each.values != ("openvino",)])
def test_a_runtime_that_computes_in_fewer_bits_is_refused_though_its_answer_is_near(plant, runtime):
    def rounded(net):
        net[0].register_forward_hook(lambda _, __, y: y + 1e-6 * y.to(torch.bfloat16).float())
        return net

    plant(rounded)
    with pytest.raises(CheckError, match=r"fp32 was asked for, .* computes in bfloat16"):
        prepared(lambda: nn.Sequential(networks.conv(), networks.head()), runtime)


@needs_openvino
def test_an_openvino_that_takes_bfloat16_by_itself_is_refused(monkeypatch):
    """This is what it does without the hint of the precision, on a CPU that has bfloat16."""
    executed = openvino._executed

    def as_on_such_a_cpu(node):
        found = executed(node)
        if found.operator == "Convolution":
            found = found._replace(precision="bf16")
        return found

    monkeypatch.setattr(openvino, "_executed", as_on_such_a_cpu)
    with pytest.raises(CheckError, match=r"fp32 was asked for, .* computes in bfloat16"):
        prepared(runtime="openvino")


@needs_onnxruntime
def test_a_node_on_another_provider_is_refused(monkeypatch):
    profiled = backend.Session._profiled

    def fallen_back(self, *arguments):
        content, nodes = profiled(self, *arguments)
        for node in nodes:
            if node["args"]["op_name"] == "Gemm":
                node["args"]["provider"] = "DmlExecutionProvider"
        return content, nodes

    monkeypatch.setattr(backend.Session, "_profiled", fallen_back)
    with pytest.raises(CheckError, match=r"Gemm on DmlExecutionProvider \(1\)"):
        prepared()


@needs_openvino
def test_the_facts_say_what_openvino_executes():
    subject, facts = prepared(runtime="openvino", threads=torch.get_num_threads())
    made = facts.artifact
    assert made.operators["Convolution"] == 2
    assert made.providers == {"CPU": sum(made.operators.values())}
    assert made.types == ["float"]
    assert (made.exporter, made.gelus.erf) == ("dynamo", 1)
    assert 0 <= made.smooth_error < 1e-4
    assert made.fused
    assert made.inputs == {"x": "float32 1x3x32x32"}
    assert list(made.outputs.values()) == ["float32 1x5"]
    assert made.session_s > 0
    settings = subject.settings()
    assert settings["artifact"] == made.file_hash
    assert BACKENDS["openvino"].versions().items() <= settings.items()


@needs_onnxruntime
def test_the_facts_say_what_is_executed():
    subject, facts = prepared(threads=torch.get_num_threads())
    made = facts.artifact
    assert made.providers == {"CPUExecutionProvider": sum(made.operators.values())}
    assert made.types == ["float"]
    assert (made.exporter, made.optimisation) == ("dynamo", "enable_all")
    assert 0 <= made.smooth_error < 1e-4
    assert made.fused  # the layout of this CPU's convolutions
    assert made.inputs == {"x": "float32 1x3x32x32"}
    assert list(made.outputs.values()) == ["float32 1x5"]
    assert made.session_s > 0
    settings = subject.settings()
    assert settings["artifact"] == made.file_hash
    assert BACKENDS["onnxruntime"].versions().items() <= settings.items()


@needs_executorch
def test_the_facts_say_what_executorch_executes():
    subject, facts = prepared(runtime="executorch", threads=torch.get_num_threads())
    made = facts.artifact
    own = sum(count for name, count in made.operators.items() if name.startswith("aten::"))
    assert made.providers["ExecuTorch"] == own
    assert sum(made.providers.values()) == sum(made.operators.values())
    assert made.operators["aten::native_layer_norm"] == 1  # which XNNPACK does not have
    convolutions = [made.operators.get(f"XNN{kind}Conv2d", 0) for kind in ("", "Depthwise")]
    assert sum(convolutions) == 2
    assert made.types == ["float"]
    assert (made.exporter, made.opset, made.gelus.erf) == ("torch.export", 0, 1)
    assert 0 <= made.smooth_error < 1e-4
    assert made.inputs == {"input0": "float32 1x3x32x32"}
    assert made.outputs == {"output0": "float32 1x5"}
    assert made.session_s > 0
    settings = subject.settings()
    assert settings["artifact"] == made.file_hash
    assert settings["executorch"] == BACKENDS["executorch"].versions()["executorch"]


@needs_aotinductor
@pytest.mark.aotinductor
def test_the_facts_say_what_aotinductor_executes():
    subject, facts = prepared(runtime="aotinductor", threads=torch.get_num_threads())
    made = facts.artifact
    assert sum(made.providers.values()) == sum(made.operators.values())
    assert sum(name.startswith("mkldnn__convolution") for name in made.operators) > 0
    assert any(name.startswith("cpp_fused") for name in made.operators)
    assert made.types == ["float"]
    assert (made.exporter, made.optimisation) == ("torch.export", "freezing")
    assert made.gelus.erf >= 1
    assert made.gelus.tanh == 0
    assert 0 <= made.smooth_error < 1e-4
    assert made.inputs == {"input0": "float32 1x3x32x32"}
    assert made.outputs == {"output0": "float32 1x5"}
    assert made.session_s > 0
    assert subject.settings()["artifact"] == made.file_hash


@EACH_RUNTIME_OF_ONNX
def test_where_the_first_exporter_fails_or_is_wrong_the_second_counts(monkeypatch, runtime):
    write = onnx_file.write

    def failing(model, example, exporter, path):
        if exporter == onnx_file.DYNAMO:
            raise program.ExportError("no such operator")
        write(model, example, exporter, path)

    monkeypatch.setattr(onnx_file, "write", failing)
    assert prepared(runtime=runtime)[1].artifact.exporter == "torchscript"

    def wrong(model, example, exporter, path):
        is_wrong = exporter == onnx_file.DYNAMO
        planted = without_mean(copy.deepcopy(model)) if is_wrong else model
        write(planted, example, exporter, path)

    monkeypatch.setattr(onnx_file, "write", wrong)
    monkeypatch.setattr(program.packages, "version", lambda name: "another")
    assert prepared(runtime=runtime)[1].artifact.exporter == "torchscript"


@BUT_AOTINDUCTOR
def test_a_network_that_nothing_exports_names_each_reason(runtime):
    class Svd(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x.mean(1))

    with pytest.raises(Exception, match=f"cannot be exported for {runtime}") as raised:
        prepared(Svd, runtime)
    assert type(raised.value).__name__ == "NotExportedError"
    exporters = [f"{each}: " for each in BACKENDS[runtime].exporters]
    for words in (*exporters, "linalg_svd", "Use another --backend"):
        assert words in str(raised.value)


@BUT_AOTINDUCTOR
def test_images_of_integers_in_any_order_of_memory_are_read_as_they_are(runtime):
    def example_inputs(batch, resolution):
        pixels = torch.arange(batch * resolution**2 * 3, dtype=torch.uint8)
        return [pixels.reshape(batch, resolution, resolution, 3).permute(0, 3, 1, 2)]

    def bytes_net():
        torch.manual_seed(0)
        net = nn.Sequential(networks.conv(), networks.head())
        return networks.module(lambda self, x: self.net(x.float() / 255), net=net)

    _, facts = prepared(networks.with_inputs(bytes_net, example_inputs), runtime)
    assert list(facts.artifact.inputs.values()) == ["uint8 1x3x32x32"]
    assert facts.artifact.smooth_error is None
    assert any("not checked on natural-looking images" in note for note in facts.notes)


@BUT_AOTINDUCTOR
def test_a_network_that_rounding_changes_on_smooth_images_is_checked_on_random_ones_alone(runtime):
    def chaotic():
        torch.manual_seed(0)
        net = nn.Sequential(networks.conv(), networks.head())
        return networks.module(chaos, net=net)

    def chaos(self, x):
        smoothness = x.mean((2, 3), keepdim=True).abs().sum(1, keepdim=True).clamp(min=0.5) - 0.5
        return self.net(x + (1e7 * smoothness * x).sin() * smoothness)

    _, facts = prepared(chaotic, runtime)
    assert facts.artifact.smooth_error is None
    assert any("checked on random images only" in note for note in facts.notes)

"""A network in 8-bit integers has a number only if the runtime computes what its file says."""

import numpy as np
import pytest
import torch
from support import networks
from support.runtimes import (
    EACH_BUT_AOTINDUCTOR,
    EACH_OF_ONNX,
    installed,
    needs_executorch,
    needs_onnxruntime,
    needs_openvino,
)
from torch import nn

from bench.backends import BACKENDS, artifacts, ir_file, onnx_file, openvino, pte_file
from bench.backends import onnxruntime as backend
from bench.backends.integers import in_onnx, literal_onnx
from bench.harness.scheduler.environment import runtime_of
from bench.harness.worker import calibration
from bench.harness.worker.check import CheckError
from bench.harness.worker.inputs import seeded
from bench.harness.worker.load import NotExportedError
from bench.models.initialise import random_images
from bench.records import Case

pytestmark = pytest.mark.usefixtures("shared_cache", "without_probe")
EACH = pytest.mark.parametrize("runtime", EACH_BUT_AOTINDUCTOR)
OF_ONNX = pytest.mark.parametrize("runtime", EACH_OF_ONNX)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """A folder for the exported networks of this file, which are nearly all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("exported")))
        yield


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.GELU(),
        nn.MaxPool2d(32),  # averages of random images hardly differ
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def prepared(runtime="onnxruntime", **changes):
    wanted = {"backend": runtime, "precision": "int8", "resolution": 32, **changes}
    return networks.prepared(small, **wanted)


@EACH
@pytest.mark.parametrize("batch", [1, 5])
def test_a_right_engine_passes_and_its_record_says_what_it_executes(runtime, batch):
    subject, facts = prepared(runtime, batch=batch)
    check, found = facts.check, facts.artifact.quantised
    assert check.against == "eager, fp32"
    assert 0 < check.largest_relative_error <= check.tolerance == 0.9
    assert found.nodes == 3
    assert found.weight_bits in (7, 8)
    assert 0 < found.error < 0.9
    assert found.added <= max(1.5 * found.error, 0.05)
    assert found.calibration == "16 random and 16 natural-looking images"
    assert {"int8", "uint8"} & {*facts.artifact.types}
    assert list(facts.artifact.inputs.values()) == [f"float32 {batch}x3x32x32"]
    assert any("nothing follows for its accuracy" in note for note in facts.notes)
    again, _ = networks.prepared(
        small, facts, backend=runtime, precision="int8", resolution=32, batch=batch
    )
    assert torch.equal(subject.call()[0], again.call()[0])


@OF_ONNX
def test_int8_and_fp32_share_one_onnx_file(runtime, cache):
    prepared(runtime)
    exported = len(list(cache.rglob("*-*")))
    prepared(runtime, precision="fp32")
    assert len(list(cache.rglob("*-*"))) == exported


@OF_ONNX
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_a_file_with_a_wrong_scale_is_refused(runtime, factor, monkeypatch):
    """Of an activation, which is written with one scale and read with another."""
    from onnx import numpy_helper

    parse = onnx_file.parse

    def planted(content):
        proto = parse(content)
        made_by = onnx_file.producers(proto)
        for node in proto.graph.node:
            before = made_by.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
            if before is not None and before.op_type == "QuantizeLinear":
                scale = next(x for x in proto.graph.initializer if x.name == node.input[1])
                other = proto.graph.initializer.add()
                wrong = numpy_helper.to_array(scale) * np.float32(factor)
                other.CopyFrom(numpy_helper.from_array(wrong, "another_scale"))
                node.input[1] = "another_scale"
                return proto
        return proto

    monkeypatch.setattr(onnx_file, "parse", planted)
    with pytest.raises(NotExportedError, match="is not that of the network after it was quantised"):
        prepared(runtime)
    monkeypatch.setattr(onnx_file, "parse", parse)
    prepared(runtime)


def with_channels_swapped(made):
    """Let an engine compute the answer to the image with its channels in the opposite order."""
    call = type(made).__call__

    def wrong(self):
        image = self._example[0]
        kept = image.clone()
        image.copy_(kept.flip(1))
        answers = [each.clone() for each in call(self)]
        image.copy_(kept)
        return answers

    made.__class__ = type("Wrong", (type(made),), {"__call__": wrong})
    return made


@EACH
def test_an_engine_that_computes_something_else_is_refused(runtime, monkeypatch):
    engine = BACKENDS[runtime].engine

    def wrong(content, example, precision):
        made = engine(content, example, precision)
        return with_channels_swapped(made) if precision == "int8" else made

    monkeypatch.setattr(BACKENDS[runtime], "engine", wrong)
    with pytest.raises(CheckError, match="differs from that of"):
        prepared(runtime)


@needs_onnxruntime
def test_a_session_without_a_node_in_integers_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "_is_in_integers", lambda node: False)
    with pytest.raises(CheckError, match="int8 was asked for, and no node computes in integers"):
        prepared()


@needs_openvino
def test_an_openvino_without_a_node_in_integers_is_refused(monkeypatch):
    monkeypatch.setattr(openvino, "_is_in_integers", lambda node: False)
    with pytest.raises(CheckError, match="int8 was asked for, and no node computes in integers"):
        prepared("openvino")


@needs_executorch
def test_an_executorch_without_a_node_in_integers_is_refused(monkeypatch):
    monkeypatch.setattr(pte_file, "OF_INTEGERS", ())
    with pytest.raises(CheckError, match="int8 was asked for, and no node computes in integers"):
        prepared("executorch")


@needs_executorch
@pytest.mark.usefixtures("cache")
def test_executorch_is_given_no_program_with_a_wrong_scale(monkeypatch):
    """Of an activation, which is written with one scale and read with another."""
    from torchao.quantization.pt2e import quantize_pt2e

    convert = quantize_pt2e.convert_pt2e

    def planted(observed):
        made = convert(observed)
        conv = next(node for node in made.graph.nodes if "conv2d" in str(node.target))
        integers, scale, *rest = conv.args[0].args
        conv.args[0].args = (integers, 1.5 * scale, *rest)
        return made

    monkeypatch.setattr(quantize_pt2e, "convert_pt2e", planted)
    with pytest.raises(NotExportedError, match="is not that of the network after it was quantised"):
        prepared("executorch")


@needs_executorch
def test_executorch_in_integers_is_exported_once(cache):
    prepared("executorch")
    files = {path for path in cache.rglob("*") if path.is_file()}
    prepared("executorch")
    assert {path for path in cache.rglob("*") if path.is_file()} == files
    assert (
        len(files) == 3
    )  # in float32; in integers: what is executed literally, and by the runtime


@needs_onnxruntime
def test_a_network_that_integers_change_too_much_is_refused(monkeypatch):
    """Then nobody could tell a right engine from a wrong one."""

    def coarse(content, example):
        return lambda: [torch.zeros(1, 10)]

    monkeypatch.setattr(literal_onnx, "literal", coarse)
    with pytest.raises(CheckError, match="even computed operator by operator in float32"):
        prepared()


@needs_onnxruntime
def test_calibration_gets_whole_batches_of_images_that_no_check_uses(monkeypatch):
    seen = []
    made = in_onnx.stored

    def kept(of_onnx, ranges):
        seen.append(ranges)
        return made(of_onnx, ranges)

    monkeypatch.setattr(in_onnx, "stored", kept)
    prepared(batch=1)
    prepared(batch=20)
    prepared(batch=40)
    shapes = [[tuple(image.shape) for (image,) in each.calls] for each in seen]
    size = (3, 32, 32)
    assert shapes == [[(1, *size)] * 32, [(20, *size)], [(40, *size)]]
    assert len({each.digest for each in seen}) == 1
    everything = {tuple(image.flatten().tolist()) for (image,) in seen[0].calls}
    assert len(everything) == 32
    (checked,) = seeded(random_images, Case("net", "plain", resolution=32), 2)
    assert not everything & {tuple(image.flatten().tolist()) for image in checked}


def test_inputs_that_are_no_images_are_random():
    case = Case("net", "plain", resolution=8)
    found = calibration.synthetic(case, lambda count, size: [torch.randn(count, size)], None)
    assert found.about == "16 random inputs"
    assert [len(each[0]) for each in found.calls] == [1] * 16


@needs_openvino
def test_openvino_computes_in_what_the_cpu_has(monkeypatch):
    class Core:
        def get_property(self, device, name):
            return ["FP32", "BF16"]

    monkeypatch.setattr(ir_file, "core", Core)
    lacks = BACKENDS["openvino"].lacks_precision
    assert lacks("fp32", "cpu") is None
    assert lacks("bf16", "cpu") is None
    assert "does not compute in int8 on this CPU" in lacks("int8", "cpu")
    assert "does not compute in fp16 on this CPU" in lacks("fp16", "cpu")
    assert "does not compute in tf32 on this CPU" in lacks("tf32", "cpu")


@needs_openvino
def test_an_openvino_that_does_not_take_the_bfloat16_asked_for_is_refused(monkeypatch):
    """On a CPU without bfloat16, OpenVINO computes in float32, whatever it was asked for."""
    executed = openvino._executed

    def in_float32(node):
        return executed(node)._replace(precision="f32")

    monkeypatch.setattr(openvino, "_executed", in_float32)
    with pytest.raises(CheckError, match="bf16 was asked for, and the runtime computes in float"):
        prepared("openvino", precision="bf16")


@needs_openvino
def test_the_version_of_what_quantises_decides_whether_a_round_counts():
    usual, of_integers = (
        runtime_of(Case("net", "plain", "openvino", precision)) for precision in ("fp32", "int8")
    )
    assert of_integers.keys() - usual.keys() == {"onnxruntime"}


@needs_executorch
def test_the_version_of_torchao_decides_whether_a_round_counts():
    usual, of_integers = (
        runtime_of(Case("net", "plain", "executorch", precision)) for precision in ("fp32", "int8")
    )
    assert of_integers.keys() - usual.keys() == {"torchao"}


@needs_executorch
def test_without_what_quantises_executorch_has_no_integers(monkeypatch):
    lacks = BACKENDS["executorch"].lacks_precision
    assert lacks("int8", "cpu") is None
    installed(monkeypatch, executorch="1.5.1", torch="2.14.1")
    assert lacks("int8", "cpu") == "no torchao: pip install torchao"
    assert lacks("fp32", "cpu") is None


@needs_executorch
def test_a_passport_leaves_a_network_of_executorch_in_integers_as_it_is():
    made = prepared("executorch")[1].artifact
    backend, images = BACKENDS["executorch"], [torch.randn(1, 3, 32, 32)]
    (content,) = backend.with_passport(artifacts.content_of(made), {"form": "rrep"})
    assert content != artifacts.content_of(made)
    found, wanted = backend.engine(content, images, "int8"), backend.open(made, images, "int8")
    assert torch.equal(found()[0], wanted()[0])

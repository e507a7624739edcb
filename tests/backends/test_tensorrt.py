"""TensorRT, on a stand-in that executes the ONNX file of an engine on the CPU."""

import json
import sys

import pytest
import torch
from support import networks, tensorrt_stand_in
from support.runtimes import NEWEST, installed, needs_onnxruntime
from torch import nn

from bench.backends import BACKENDS
from bench.backends import tensorrt as module
from bench.harness.worker.check import CheckError
from bench.harness.worker.load import NotExportedError

BACKEND = BACKENDS["tensorrt"]
pytestmark = [needs_onnxruntime, pytest.mark.usefixtures("stand_in")]


class Stream:
    """A fake stream of CUDA."""

    cuda_stream = 7


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of ONNX files, which all tests share. An engine is of one test, by its GPU."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def stand_in(exported, request, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported))
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in.module())
    monkeypatch.setattr(module, "own_stream", Stream)
    monkeypatch.setattr(module, "_gpu", lambda: f"the GPU of {request.node.name} 9.0")
    monkeypatch.setattr(tensorrt_stand_in.Builder, "built", [])


def small():
    torch.manual_seed(0)
    return nn.Sequential(networks.conv(), nn.BatchNorm2d(16), nn.GELU(), networks.head())


def prepared(make=small, **changes):
    return networks.prepared(make, **{"backend": "tensorrt", "resolution": 32, **changes})


def test_an_engine_computes_what_the_network_does_and_says_in_which_types():
    subject, facts = prepared()
    made = facts.artifact
    assert facts.check.largest_relative_error < 1e-4
    assert made.operators["Conv"] == 1
    assert made.providers == {"TensorRT": sum(made.operators.values())}
    assert made.types == ["float"]
    assert (made.gelus.erf, made.gelus.tanh) == (1, 0)
    assert made.inputs == {"input": "float32 1x3x32x32"}
    assert list(made.outputs.values()) == ["float32 1x10"]
    again, _ = networks.prepared(small, facts, backend="tensorrt", resolution=32)
    assert torch.equal(subject.call()[0], again.call()[0])


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True)])
def test_networks_are_strongly_typed_and_tf32_is_allowed_only_where_asked_for(precision, allowed):
    prepared(precision=precision)
    network, config = tensorrt_stand_in.Builder.built[-1]
    assert network.flags == 1 << 1
    assert (tensorrt_stand_in.BuilderFlag.TF32 in config.flags) == allowed


def test_an_engine_is_built_once_for_a_precision_a_version_and_a_gpu(monkeypatch):
    built = tensorrt_stand_in.Builder.built
    for _ in range(2):
        prepared()
    assert len(built) == 1
    monkeypatch.setattr(module, "_gpu", lambda: "another GPU 10.0")
    prepared()
    assert len(built) == 2
    prepared(precision="tf32")
    assert len(built) == 3


def test_fp16_has_its_types_from_the_file():
    _, facts = prepared(precision="fp16")
    assert facts.artifact.types == ["float16"]
    assert facts.artifact.inputs == {"input": "float16 1x3x32x32"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "float16"),
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}, "int8"),
        ({"Datatype": "BFloat16", "Format": "Row major linear"}, "bfloat16"),
        ({"Datatype": "FP8", "Format": "Row major linear"}, "float8"),
        ({"Datatype": "Quaternion"}, "Quaternion"),
        ({}, "no type"),
    ],
)
def test_a_layer_that_computes_in_fewer_bits_is_refused(words, said, monkeypatch):
    monkeypatch.setattr(tensorrt_stand_in.Engine, "words", staticmethod(lambda kind: words))
    with pytest.raises(CheckError, match=f"fp32 was asked for, .* computes in {said}"):
        prepared()


def test_the_words_of_tensorrt_11_are_read(monkeypatch):
    words = {"Datatype": "Float", "Format": "Row major linear"}
    monkeypatch.setattr(tensorrt_stand_in.Engine, "words", staticmethod(lambda kind: words))
    assert prepared()[1].artifact.types == ["float"]


def test_an_engine_that_hides_its_types_is_refused(monkeypatch):
    hidden = property(lambda self: None, lambda self, value: None)
    monkeypatch.setattr(tensorrt_stand_in.Config, "profiling_verbosity", hidden, raising=False)
    with pytest.raises(CheckError, match="does not say in which types"):
        prepared()


def test_a_wrong_engine_is_refused(monkeypatch):
    execute = tensorrt_stand_in.Context.execute_async_v3

    def wrong(self, stream):
        done = execute(self, stream)
        self._array("output")[...] *= 1.01
        return done

    monkeypatch.setattr(tensorrt_stand_in.Context, "execute_async_v3", wrong)
    with pytest.raises(CheckError, match="differs from that of"):
        prepared()


@pytest.mark.parametrize(
    ("owner", "name", "value", "words"),
    [
        (tensorrt_stand_in.OnnxParser, "errors", ("no importer for Foo",), "importer for Foo"),
        (tensorrt_stand_in.Builder, "fails", True, "cannot build an engine"),
        (tensorrt_stand_in.Context, "fails", True, "could not execute the engine"),
    ],
)
def test_what_tensorrt_refuses_is_a_failure_with_its_reason(owner, name, value, words, monkeypatch):
    monkeypatch.setattr(owner, name, value)
    with pytest.raises((NotExportedError, RuntimeError), match=words):
        prepared()


def test_the_passport_lies_beside_the_engine():
    content, passport = BACKEND.with_passport(b"engine", {"model": "resnet50"})
    assert content == b"engine"
    assert json.loads(passport) == {"model": "resnet50"}
    assert BACKEND.file_ends == (".engine", ".json")


def test_what_is_missing_is_said_with_its_remedy(monkeypatch):
    assert "needs an NVIDIA GPU" in BACKEND.missing("cpu")
    installed(monkeypatch, **NEWEST)
    assert "pip install tensorrt" in BACKEND.missing("cuda")
    installed(monkeypatch, **NEWEST, tensorrt="8.6.1")
    assert "tensorrt 8.6.1 is too old" in BACKEND.missing("cuda")
    installed(monkeypatch, **NEWEST, tensorrt="11.4.0")
    assert BACKEND.missing("cuda") is None
    assert BACKEND.versions()["tensorrt"] == "11.4.0"
    installed(monkeypatch, **NEWEST)
    monkeypatch.setattr(module.Board, "is_jetson", lambda self: True)
    assert "python3-libnvinfer" in BACKEND.missing("cuda")


def test_precisions_are_those_of_strongly_typed_networks():
    assert [BACKEND.lacks_precision(each, "cuda") for each in ("fp32", "tf32", "fp16")] == 3 * [
        None
    ]
    assert "builds no engines in int8" in BACKEND.lacks_precision("int8", "cuda")

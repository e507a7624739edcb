"""ONNX Runtime: its package with CUDA, its session on a GPU, and the end of its active waiting."""

import sys

import pytest
import torch
from support.runtimes import NEWEST, installed

from bench.backends import BACKENDS
from bench.backends import onnxruntime as module
from bench.backends.backend import WrongEngineError

BACKEND = BACKENDS["onnxruntime"]


def test_a_gpu_needs_the_package_with_cuda_alone(monkeypatch):
    installed(monkeypatch, **NEWEST)
    assert "pip install onnxruntime-gpu" in BACKEND.missing("cuda")
    installed(monkeypatch, **NEWEST, onnxruntime_gpu="1.32.0")  # they write the same files
    assert "pip uninstall onnxruntime onnxruntime-gpu" in BACKEND.missing("cuda")
    assert BACKEND.missing("cpu") is None
    installed(monkeypatch, **{**NEWEST, "onnxruntime_gpu": "1.18.0"})
    assert "onnxruntime-gpu 1.18.0 is too old" in BACKEND.missing("cuda")
    alone = {name: version for name, version in NEWEST.items() if name != "onnxruntime"}
    installed(monkeypatch, **alone, onnxruntime_gpu="1.32.0")
    monkeypatch.setattr(module.packages.util, "find_spec", lambda name: object())
    assert BACKEND.missing("cuda") is None
    assert BACKEND.versions()["onnxruntime"] == "1.32.0"


def test_a_cpu_has_kernels_for_fp32_alone():
    assert BACKEND.lacks_precision("fp32", "cpu") is None
    for name in ("fp16", "bf16", "tf32"):
        assert f"no {name} kernels" in BACKEND.lacks_precision(name, "cpu")
    assert [BACKEND.lacks_precision(each, "cuda") for each in ("fp32", "tf32", "fp16")] == 3 * [
        None
    ]
    assert BACKEND.lacks_precision("bf16", "cuda")


class Stream:
    """A fake stream of CUDA."""

    cuda_stream = 7
    device = torch.device("cuda", 0)

    def wait_stream(self, other):
        assert other is not self


class FakeSession:
    """A fake session that keeps what it was made with."""

    found = "CUDAExecutionProvider"

    def __init__(self, content, options, providers, provider_options):
        self.made.append((providers, provider_options))

    def disable_fallback(self):
        self.made.append("no fallback")

    def get_providers(self):
        return [self.found, "CPUExecutionProvider"]


@pytest.fixture
def engine(monkeypatch):
    """A function that makes a session on a fake GPU."""
    runtime = type(sys)("onnxruntime")
    runtime.InferenceSession = FakeSession
    current = [Stream()]
    monkeypatch.setattr(FakeSession, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_stream", current.append)

    def make(precision):
        made = module.Session.__new__(module.Session)
        made.device, made._precision, made._stream = "cuda", precision, module.own_stream()
        made._new_session(b"", None)
        assert current[-1] is made._stream

    return make


def test_a_session_of_a_gpu_computes_on_torchs_stream_without_tf32(engine):
    for precision in ("fp32", "tf32"):
        engine(precision)
    settings = {"device_id": 0, "user_compute_stream": "7"}
    both = [([module.PROVIDERS["cuda"]], [{**settings, "use_tf32": each}]) for each in (0, 1)]
    assert FakeSession.made == [both[0], "no fallback", both[1], "no fallback"]


def test_a_session_that_falls_back_to_another_provider_is_refused(engine, monkeypatch):
    monkeypatch.setattr(FakeSession, "found", "CPUExecutionProvider")
    with pytest.raises(WrongEngineError, match="CPUExecutionProvider instead of CUDA"):
        engine("fp32")

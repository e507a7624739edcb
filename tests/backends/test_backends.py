"""Backends compute the same as eager. A fake torch.cuda records the steps of a CUDA graph."""

import contextlib
import shutil
import types

import pytest
import torch
from support.runtime_process import small_net
from torch import nn

from bench.backends import BACKENDS, compiled, cudagraph


@pytest.mark.parametrize(
    "name", ["eager", "channels_last", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_a_backend_computes_the_same_as_the_network_on_the_cpu(name):
    net, images = small_net(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = net(images)
        call = BACKENDS[name].load(net, [images], "fp32")
        assert torch.allclose(call(), expected, atol=1e-6)
        assert torch.allclose(call(), expected, atol=1e-6)


def test_channels_last_converts_weights_and_example_in_place():
    seen = []
    net, images = small_net(), torch.randn(2, 3, 8, 8)
    net.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        output = BACKENDS["channels_last"].load(net, [images], "fp32")()
    last = {"memory_format": torch.channels_last}
    assert seen[0].is_contiguous(**last)
    assert net[0].weight.is_contiguous(**last)
    assert output.is_contiguous(**last)
    assert images.is_contiguous(**last)
    assert seen[0].data_ptr() == images.data_ptr()


def test_compile_refuses_a_network_with_a_graph_break():
    class Branching(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    with (
        torch.inference_mode(),
        pytest.raises(Exception, match=r"(?i)data-dependent|dynamic control flow|graph"),
    ):
        BACKENDS["compile"].load(Branching(), [torch.randn(1, 3, 8, 8)], "fp32")


def test_compile_needs_a_compiler_and_python_h_and_on_a_gpu_triton(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "sudo apt install g++" in BACKENDS["compile"].missing("cpu")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "sudo apt install python3-dev" in BACKENDS["compile"].missing("cpu")
    (tmp_path / "Python.h").touch()
    assert BACKENDS["compile"].missing("cpu") is None
    monkeypatch.setattr(compiled.util, "find_spec", lambda name: None)
    assert "pip install triton" in BACKENDS["compile"].missing("cuda")


def test_a_cuda_graph_needs_a_gpu():
    assert "--device cuda" in BACKENDS["cudagraph"].missing("cpu")
    assert BACKENDS["cudagraph"].missing("cuda") is None


class Recorder:
    """A fake torch.cuda that records the stream or the capture in which the network is called."""

    def __init__(self):
        self.where = ["current"]
        self.events = []

    def stream(self, name="side"):
        waits = lambda other: self.events.append(f"{name} waits for {other.name}")  # noqa: E731
        return types.SimpleNamespace(name=name, wait_stream=waits)

    @contextlib.contextmanager
    def inside(self, name):
        self.where.append(name)
        yield
        self.where.pop()


def test_a_cuda_graph_is_warmed_up_on_a_side_stream_captured_once_and_replayed(monkeypatch):
    recorder, net = Recorder(), small_net()
    current = recorder.stream("current")
    replayed = []
    graph = types.SimpleNamespace(replay=lambda: replayed.append(recorder.where[-1]))
    monkeypatch.setattr(torch.cuda, "Stream", recorder.stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "stream", lambda side: recorder.inside(side.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda captured: recorder.inside("capture"))
    net.register_forward_hook(lambda *_: recorder.events.append(f"call in {recorder.where[-1]}"))
    with torch.inference_mode():
        call = BACKENDS["cudagraph"].load(net, [torch.randn(1, 3, 8, 8)], "fp32")
    warm = ["call in side"] * cudagraph.WARM_CALLS
    waits = "side waits for current", "current waits for side"
    assert recorder.events == [waits[0], *warm, waits[1], "call in capture"]
    assert call() is call()
    assert replayed == ["current"] * 2
    assert recorder.events[-1] == "call in capture"  # a replay runs no Python of the network

"""ONNX Runtime computes what the network does, with the threads of the case, and then rests."""

import json
import multiprocessing
import re
import sys
import time

import pytest
import torch
from support.networks import small_net
from support.paths import ROOT
from support.runtimes import needs_onnxruntime
from torch import nn

from bench.backends import BACKENDS
from bench.backends import onnxruntime as module
from bench.backends.backend import WrongEngineError
from bench.devices.threads import read_threads

pytestmark = pytest.mark.usefixtures("cache")
BACKEND = BACKENDS["onnxruntime"]
RESTING_S = 0.25  # as long as a block


@needs_onnxruntime
def test_it_computes_the_same_as_the_network_also_for_images_copied_in_later():
    net, images = small_net(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        call = BACKEND.load(net, [images], "fp32")
        assert torch.allclose(call()[0], net(images), atol=1e-6)
        images.copy_(torch.randn(2, 3, 8, 8))
        assert torch.allclose(call()[0], net(images), atol=1e-6)


class Typed(nn.Module):
    """A network with several inputs, and outputs of several types."""

    def forward(self, image, index):
        return {"sum": image.sum(1) + index, "large": image > 0, "place": image.argmax(1)}


@needs_onnxruntime
def test_inputs_and_outputs_of_other_types():
    given = [torch.randn(2, 3, 4, 4), torch.tensor([[[3]]])]
    with torch.inference_mode():
        found = BACKEND.load(Typed(), given, "fp32")()
        wanted = list(Typed()(*given).values())
    assert [each.dtype for each in found] == [torch.float32, torch.bool, torch.int64]
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


@needs_onnxruntime
def test_an_output_whose_shape_depends_on_the_image_is_refused():
    class Chosen(nn.Module):
        def forward(self, x):
            return x[x > 0]

    with torch.inference_mode(), pytest.raises(WrongEngineError, match="depends on the image"):
        BACKEND.load(Chosen(), [torch.randn(1, 3, 4, 4)], "fp32")


@needs_onnxruntime
@pytest.mark.parametrize("threads", [1, 2])
def test_the_session_has_the_threads_of_the_case(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            call = BACKEND.load(small_net(), [torch.randn(1, 3, 8, 8)], "fp32")
    finally:
        torch.set_num_threads(before)
    assert BACKEND.settings(call)["runtime_threads"] == threads


def _run_and_rest(force_stop: bool, answers) -> None:
    """Call a session, then rest: send the CPU seconds of this process while it rests."""
    if not force_stop:
        options = module.Engine._options

        def spinning(self, threads):
            found = options(self, threads)
            found.add_session_config_entry("session.force_spinning_stop", "0")
            return found

        module.Engine._options = spinning
    torch.set_num_threads(2)
    with torch.inference_mode():
        net = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)))
        call = BACKEND.load(net, [torch.randn(1, 16, 112, 112)], "fp32")
        found = []
        for _ in range(5):
            for _ in range(10):
                call()
            before = time.process_time()
            time.sleep(RESTING_S)
            found.append(time.process_time() - before)
    answers.put(sorted(found)[2])


def resting_s(force_stop):
    """CPU seconds of a process that waits for RESTING_S after it has called a session."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_run_and_rest, args=(force_stop, answers))
    process.start()
    found = answers.get(timeout=120)
    process.join()
    return found


@needs_onnxruntime
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the time of threads is Linux's")
def test_a_waiting_runtime_uses_no_cpu_and_would_use_some_without_the_setting():
    resting, spinning = resting_s(force_stop=True), resting_s(force_stop=False)
    print(f"CPU use of a waiting process: {resting / RESTING_S:.2%}, {spinning / RESTING_S:.2%}")
    assert resting <= 0.01 * RESTING_S
    assert spinning > 0.02 * RESTING_S


def installed(monkeypatch, **versions):
    """Let exactly these packages be installed, with these versions."""
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(module, "_installed", known.get)
    monkeypatch.setattr(module.util, "find_spec", lambda name: known.get(name) and object())


ALL = {"onnxruntime": "1.32.0", "onnx": "1.23.2", "onnxscript": "0.7.2", "torch": "2.14.1+cu130"}


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch):
    installed(monkeypatch, **ALL)
    assert BACKEND.missing("cpu") is None
    installed(monkeypatch, torch="2.14.1", onnx="1.23.2")
    lack = BACKEND.missing("cpu")
    assert lack == "no onnxruntime, onnxscript: pip install onnxruntime onnxscript"


@pytest.mark.parametrize(
    ("package", "version", "oldest"),
    [("torch", "2.5.1", "2.6"), ("onnxruntime", "1.18.0", "1.20"), ("onnx", "1.16.2", "1.17")],
)
def test_a_version_that_is_too_old_is_named(monkeypatch, package, version, oldest):
    installed(monkeypatch, **{**ALL, package: version})
    lack = BACKEND.missing("cpu")
    assert lack == f"{package} {version} is too old: install {package} {oldest} or newer"


def test_the_oldest_versions_are_those_of_the_extra():
    (extra,) = re.findall(r"^onnxruntime = (.*)", (ROOT / "pyproject.toml").read_text(), re.M)
    oldest = {**module.PACKAGES, "torch": module.OLDEST_TORCH}
    assert sorted(json.loads(extra)) == sorted(f"{name}>={each}" for name, each in oldest.items())


def test_a_gpu_needs_the_package_with_cuda_alone(monkeypatch):
    installed(monkeypatch, **ALL)
    assert "pip install onnxruntime-gpu" in BACKEND.missing("cuda")
    installed(monkeypatch, **ALL, onnxruntime_gpu="1.32.0")  # they write the same files
    assert "pip uninstall onnxruntime onnxruntime-gpu" in BACKEND.missing("cuda")
    assert BACKEND.missing("cpu") is None
    alone = {name: version for name, version in ALL.items() if name != "onnxruntime"}
    installed(monkeypatch, **alone, onnxruntime_gpu="1.32.0")
    monkeypatch.setattr(module.util, "find_spec", lambda name: object())
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


class Session:
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
    runtime.InferenceSession = Session
    current = [Stream()]
    monkeypatch.setattr(Session, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_stream", current.append)

    def make(precision):
        made = module.Engine.__new__(module.Engine)
        made._device, made._precision, made._stream = "cuda", precision, module._own_stream()
        made._new_session(b"", None)
        assert current[-1] is made._stream

    return make


def test_a_session_of_a_gpu_computes_on_torchs_stream_without_tf32(engine):
    for precision in ("fp32", "tf32"):
        engine(precision)
    settings = {"device_id": 0, "user_compute_stream": "7"}
    both = [([module.PROVIDERS["cuda"]], [{**settings, "use_tf32": each}]) for each in (0, 1)]
    assert Session.made == [both[0], "no fallback", both[1], "no fallback"]


def test_a_session_that_falls_back_to_another_provider_is_refused(engine, monkeypatch):
    monkeypatch.setattr(Session, "found", "CPUExecutionProvider")
    with pytest.raises(WrongEngineError, match="CPUExecutionProvider instead of CUDA"):
        engine("fp32")


def test_the_threads_of_another_process_can_be_read():
    own = read_threads(process=multiprocessing.current_process().pid)
    assert own.seconds.keys() == read_threads().seconds.keys()
    assert read_threads(process=2**22 + 1).seconds == {}

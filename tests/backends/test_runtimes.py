"""What holds for each runtime: it computes what the network does, with its threads, then rests."""

import gc
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from support.paths import ROOT
from support.runtime_process import RESTING_S, computing_threads, resting_s, small_net
from support.runtimes import (
    EACH,
    EACH_BUT_AOTINDUCTOR,
    EACH_OF_ONNX,
    LACKS,
    NAMES,
    NEWEST,
    OF_ONNX,
    installed,
    needs_aotinductor,
    needs_executorch,
    needs_onnxruntime,
    needs_openvino,
)
from torch import nn

from bench.backends import BACKENDS, artifacts, executorch, ir_file, onnx_file, pt2_file, pte_file
from bench.backends.backend import WrongEngineError
from bench.backends.runtime import OLDEST_TORCH
from bench.devices.threads import read_threads

pytestmark = pytest.mark.usefixtures("cache")
EACH_RUNTIME = pytest.mark.parametrize("runtime", EACH)
of_linux = pytest.mark.skipif(sys.platform != "linux", reason="the time of threads is Linux's")


@EACH_RUNTIME
def test_it_computes_the_same_as_the_network_also_for_images_copied_in_later(runtime):
    net, images = small_net(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        call = BACKENDS[runtime].load(net, [images], "fp32")
        assert torch.allclose(call()[0], net(images), atol=1e-6)
        images.copy_(torch.randn(2, 3, 8, 8))
        assert torch.allclose(call()[0], net(images), atol=1e-6)


class Typed(nn.Module):
    """A network with several inputs, and outputs of several types."""

    def forward(self, image, index):
        return {"sum": image.sum(1) + index, "large": image > 0, "place": image.argmax(1)}


@EACH_RUNTIME
def test_inputs_and_outputs_of_other_types(runtime):
    given = [torch.randn(2, 3, 4, 4), torch.tensor([[[3]]])]
    with torch.inference_mode():
        call = BACKENDS[runtime].load(Typed(), given, "fp32")
        found = call()
        wanted = list(Typed()(*given).values())
    assert [each.dtype for each in found] == [torch.float32, torch.bool, torch.int64]
    assert torch.allclose(found[0], wanted[0])
    assert all(torch.equal(*pair) for pair in zip(found[1:], wanted[1:], strict=True))


@pytest.mark.parametrize("runtime", EACH_OF_ONNX)
def test_an_output_whose_shape_depends_on_the_image_is_refused(runtime):
    class Chosen(nn.Module):
        def forward(self, x):
            return x[x > 0]

    with torch.inference_mode(), pytest.raises(WrongEngineError, match="depends on the image"):
        BACKENDS[runtime].load(Chosen(), [torch.randn(1, 3, 4, 4)], "fp32")


@of_linux
@EACH_RUNTIME
def test_it_has_the_threads_of_the_case(runtime):
    assert computing_threads(runtime) == [1, 2]


@EACH_RUNTIME
def test_a_file_that_is_there_is_used_again(runtime, cache):
    backend, images = BACKENDS[runtime], [torch.randn(1, 3, 8, 8)]
    exporter = backend.exporters[0]
    with torch.inference_mode():
        made = backend.export(small_net(), images, "fp32", exporter, "net")
        path = cache / "backbone-bench" / "exported" / made.file
        written = path.stat().st_ino
        assert backend.export(small_net(), images, "fp32", exporter, "net") == made
        assert path.stat().st_ino == written


@pytest.mark.parametrize("runtime", EACH_BUT_AOTINDUCTOR)
def test_a_file_that_is_made_again_has_the_same_bytes(runtime, cache):
    backend, images = BACKENDS[runtime], [torch.randn(1, 3, 8, 8)]
    with torch.inference_mode():
        made = [backend.export(small_net(), images, "fp32", backend.exporters[0]) for _ in range(2)]
    assert made[0].file != made[1].file
    assert made[0].file_hash == made[1].file_hash


@EACH_RUNTIME
def test_parts_of_a_file_are_as_many_as_its_names(runtime, cache):
    backend = BACKENDS[runtime]
    with torch.inference_mode():
        made = backend.export(small_net(), [torch.randn(1, 3, 8, 8)], "fp32", backend.exporters[0])
    content = (cache / "backbone-bench" / "exported" / made.file).read_bytes()
    parts = backend.with_passport(content, {"form": "rrep"})
    assert len(parts) == len(backend.file_ends)
    assert b"rrep" in parts[0]


@needs_openvino
def test_a_passport_of_openvino_may_have_any_text(cache, tmp_path):
    passport = {"note": "<\"&'>\n\t\\ ü", "form": None}
    with torch.inference_mode():
        made = BACKENDS["openvino"].export(small_net(), [torch.randn(1, 3, 8, 8)], "fp32", "dynamo")
    content = (cache / "backbone-bench" / "exported" / made.file).read_bytes()
    for name, part in zip(
        ir_file.FILES, BACKENDS["openvino"].with_passport(content, passport), strict=True
    ):
        (tmp_path / name).write_bytes(part)
    model = ir_file.core().read_model(tmp_path / ir_file.FILES[0])
    assert json.loads(model.get_rt_info(onnx_file.PASSPORT).value) == passport


@pytest.mark.parametrize("runtime", EACH_BUT_AOTINDUCTOR)
@pytest.mark.slow
@of_linux
def test_a_waiting_runtime_uses_no_cpu(runtime):
    resting = resting_s(runtime)
    print(f"CPU use of a waiting process: {resting / RESTING_S:.2%}")
    assert resting <= 0.01 * RESTING_S


@needs_onnxruntime
@pytest.mark.slow
@of_linux
def test_onnx_runtime_would_use_some_without_its_setting():
    assert resting_s("onnxruntime", force_stop=False) > 0.02 * RESTING_S


@pytest.mark.parametrize("runtime", OF_ONNX)
def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch, runtime):
    installed(monkeypatch, **NEWEST)
    assert BACKENDS[runtime].missing("cpu") is None
    installed(monkeypatch, torch="2.14.1", onnx="1.23.2")
    lack = BACKENDS[runtime].missing("cpu")
    assert lack == f"no {runtime}, onnxscript: pip install {runtime} onnxscript"
    assert BACKENDS["executorch"].missing("cpu") == "no executorch: pip install executorch"


@pytest.mark.parametrize(
    ("package", "version", "oldest"),
    [
        ("torch", "2.5.1", "2.6"),
        ("onnxruntime", "1.18.0", "1.20"),
        ("openvino", "2024.6.0", "2025.0"),
        ("executorch", "1.4.0", "1.5"),
        ("onnx", "1.16.2", "1.17"),
    ],
)
def test_a_version_that_is_too_old_is_named(monkeypatch, package, version, oldest):
    installed(monkeypatch, **{**NEWEST, package: version})
    names = OF_ONNX if package == "torch" else (*OF_ONNX, "executorch")
    lacks = {BACKENDS[name].missing("cpu") for name in names} - {None}
    assert lacks == {f"{package} {version} is too old: install {package} {oldest} or newer"}


@pytest.mark.parametrize("runtime", [*NAMES, "tensorrt"])
def test_the_oldest_versions_are_those_of_the_extra(runtime):
    (extra,) = re.findall(rf"^{runtime} = (.*)", (ROOT / "pyproject.toml").read_text(), re.M)
    oldest = {"torch": OLDEST_TORCH, **BACKENDS[runtime].oldest}
    assert sorted(json.loads(extra)) == sorted(f"{name}>={each}" for name, each in oldest.items())


@pytest.mark.parametrize("runtime", ["openvino", "executorch", "aotinductor"])
def test_a_runtime_of_cpus_is_refused_on_a_gpu(runtime):
    backend = BACKENDS[runtime]
    lack = backend.missing("cpu") or backend.missing("cuda")
    assert lack == LACKS[runtime] or "--device cpu" in lack
    assert backend.lacks_precision("fp32", "cpu") is None


@pytest.mark.parametrize(
    ("runtime", "precision", "has"),
    [
        ("executorch", "bf16", "fp32 and int8"),
        ("aotinductor", "bf16", "fp32"),
        ("aotinductor", "int8", "fp32"),
    ],
)
def test_some_runtimes_are_measured_in_few_precisions_only(runtime, precision, has):
    lack = BACKENDS[runtime].lacks_precision(precision, "cpu")
    assert f"measures {runtime} in {has} only, not in {precision}" in lack


def test_aotinductor_needs_a_new_torch_and_a_compiler(monkeypatch):
    installed(monkeypatch, torch="2.13.0")
    lack = BACKENDS["aotinductor"].missing("cpu")
    assert lack == "torch 2.13.0 is too old: install torch 2.14 or newer"
    installed(monkeypatch, torch="2.14.1")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler (no-such-compiler)" in BACKENDS["aotinductor"].missing("cpu")
    assert BACKENDS["aotinductor"].versions() == {}
    monkeypatch.setenv("CXX", sys.executable)
    assert BACKENDS["aotinductor"].versions()["compiler"].startswith("Python 3")


@needs_executorch
def test_a_passport_of_executorch_may_have_any_text_and_leaves_the_network_as_it_is():
    passport, images = {"note": "<\"&'>\n\t\\ ü", "form": None}, torch.randn(1, 3, 8, 8)
    backend = BACKENDS["executorch"]
    with torch.inference_mode():
        made = backend.export(small_net(), [images], "fp32", "torch.export")
        (content,) = backend.with_passport(artifacts.content_of(made), passport)
        program = executorch._bindings()._load_program_from_buffer(content)
        assert json.loads(program.load_method(pte_file.PASSPORT).call([])[0]) == passport
        (answer,) = program.load_method("forward").call([images])
        assert torch.allclose(answer, small_net()(images), atol=1e-5)


@needs_executorch
def test_executorch_reads_its_file_from_memory_that_stays(cache):
    images, backend = torch.randn(1, 3, 64, 64), BACKENDS["executorch"]
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 512, 3), nn.ReLU6()).eval()
    with torch.inference_mode():
        call = backend.load(net, [images], "fp32")
        gc.collect()
        rest = [bytes([7]) * 2**20 for _ in range(64)]  # takes the place of what was given back
        assert torch.allclose(call()[0], net(images), atol=1e-4)
    del rest


@needs_aotinductor
@pytest.mark.aotinductor
def test_a_package_of_aotinductor_leaves_nothing_behind_and_is_loaded_with_a_passport(tmp_path):
    images, backend = torch.randn(1, 3, 8, 8), BACKENDS["aotinductor"]
    folders = {Path(tempfile.gettempdir()), Path("/tmp")}
    before = {path for folder in folders for path in folder.glob("*aotinductor*")}
    with torch.inference_mode():
        made = backend.export(small_net(), [images], "fp32", "torch.export")
        call = backend.open(made, [images], "fp32")
        assert torch.allclose(call()[0], small_net()(images), atol=1e-5)
        assert {path for folder in folders for path in folder.glob("*aotinductor*")} == before
        assert "aotinductor" in Path("/proc/self/maps").read_text()  # from where it is gone
        (content,) = backend.with_passport(artifacts.content_of(made), {"form": "rrep"})
        path = tmp_path / "net.pt2"
        path.write_bytes(content)
        loaded = torch._inductor.aoti_load_package(str(path))
        assert torch.allclose(loaded(images), small_net()(images), atol=1e-5)
    with zipfile.ZipFile(path) as archive:
        (extra,) = [each for each in archive.namelist() if each.endswith(pt2_file.EXTRA)]
        assert json.loads(archive.read(extra)) == {"form": "rrep"}


def test_the_threads_of_another_process_can_be_read():
    own = read_threads(process=multiprocessing.current_process().pid)
    assert own.seconds.keys() == read_threads().seconds.keys()
    assert read_threads(process=2**22 + 1).seconds == {}


@needs_openvino
def test_openvino_sends_nothing_from_a_thread_while_networks_are_measured():
    code = (
        "import sys, threading\n"
        "from bench.backends import ir_file\n"
        "ir_file.module()\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""`bench export`: one checked file with a passport, and one message for each wrong use."""

import json

import pytest
from PIL import Image
from support.runtimes import needs_onnxruntime, needs_openvino, passport_of

from bench.backends import BACKENDS, onnx_file
from bench.cli.export import agreement_text
from bench.models.naming import RANDOM
from bench.records import Agreement

pytestmark = pytest.mark.usefixtures("cache")
EXPORT = ("export", "--to", "onnx", "--resolution", "64")


def files_in(folder):
    """The names of the files in a folder, also of hidden ones."""
    return sorted(path.name for path in folder.iterdir() if not path.is_dir())


@needs_onnxruntime
@pytest.mark.slow
def test_a_file_is_checked_and_has_its_passport(bench_process, tmp_path):
    done = bench_process(*EXPORT, "repghost_2_0x@rrep", "--out", "net.onnx", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    content = (tmp_path / "net.onnx").read_bytes()
    passport = passport_of(content)
    assert (passport["model"], passport["form"]) == ("repghost_2_0x", "rrep")
    assert passport["params"] == said["params"] > 10**6
    assert passport["macs"] > 0
    assert 0 < passport["error_against_train"] < 2e-5
    assert 0 < passport["error_against_eager"] < 5e-4
    assert list(passport["inputs"].values()) == ["float32 1x3x64x64"]
    assert passport["inputs"] == said["artifact"]["inputs"]
    assert 0 < passport["error_on_smooth_images"] < 5e-4
    assert passport["weights"] == "random"
    assert passport["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert {"bench", "torch", "timm", "onnxruntime", "onnx"} <= passport["versions"].keys()
    assert str(tmp_path) not in str(onnx_file.parse(content))
    done = bench_process(*EXPORT, "repghost_2_0x@rrep", "--out", "net.onnx")
    assert (done.returncode, "Add --force to replace it" in done.stderr) == (2, True)
    assert (tmp_path / "net.onnx").read_bytes() == content
    done = bench_process(*EXPORT, "repghost_2_0x@rrep", "--out", "net.onnx", "--force")
    assert done.returncode == 0, done.stderr
    assert "form against the network as trained: error" in done.stdout
    assert "The weights are random: give yours with --weights." in done.stdout
    (tmp_path / "link.onnx").symlink_to(tmp_path / "net.onnx")
    done = bench_process(*EXPORT, "resnet50", "--out", "link.onnx", "--force")
    assert (done.returncode, "is no regular file" in done.stderr) == (2, True)
    assert files_in(tmp_path) == ["link.onnx", "net.onnx"]


@needs_openvino
@pytest.mark.slow
def test_openvinos_two_files_are_read_and_have_a_passport(bench_process, tmp_path):
    import openvino

    to_xml = ("export", "--to", "openvino", "--resolution", "64", "repghost_2_0x@rrep")
    done = bench_process(*to_xml, "--out", "net.xml", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["files"] == ["net.xml", "net.bin"]
    assert files_in(tmp_path) == ["net.bin", "net.xml"]
    model = openvino.Core().read_model(tmp_path / "net.xml")
    passport = json.loads(model.get_rt_info("backbone-bench").value)
    assert (passport["model"], passport["params"]) == ("repghost_2_0x", said["params"])
    assert passport["inputs"] == {model.input(0).any_name: "float32 1x3x64x64"}
    assert {"openvino", "onnx", "torch"} <= passport["versions"].keys()
    assert str(tmp_path) not in (tmp_path / "net.xml").read_text()
    (tmp_path / "net.xml").unlink()
    done = bench_process(*to_xml, "--out", "net.xml")
    assert (done.returncode, "net.bin exists already" in done.stderr) == (2, True)


SMALL = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 64)
    )
"""


def write_photos(folder, count):
    """Write photographs of one colour each, in two folders."""
    for number in range(count):
        path = folder / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 100), (37 * number % 256, 91 * number % 256, 53 * number % 256)).save(
            path
        )


@needs_onnxruntime
@pytest.mark.slow
def test_a_network_in_integers_is_calibrated_and_tested_on_photographs(bench_process, tmp_path):
    (tmp_path / "net.py").write_text(SMALL)
    write_photos(tmp_path / "photos", 300)
    command = (*EXPORT, "net.py:net", "--precision", "int8", "--calibrate", "photos")
    done = bench_process(*command, "--out", "net.onnx", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["artifact"]["quantised"]
    assert found["calibration"] == "64 images of photos"
    assert found["agreement"]["images"] == 192
    assert 0 < found["agreement"]["same"] <= 192
    passport = passport_of((tmp_path / "net.onnx").read_bytes())
    assert passport["precision"] == "int8"
    assert passport["quantised"]["calibration_hash"] == found["calibration_hash"]
    done = bench_process(*command, "--out", "net.onnx", "--force")
    assert "8-bit integers: ranges from 64 images of photos" in done.stdout
    classes = found["agreement"]["classes"]
    wanted = "in float32, the network finds" if classes < 20 else "photographs on which it was not"
    assert wanted in done.stdout
    done = bench_process(*command[:-2], "--out", "net.onnx", "--force")
    assert "16 random and 16 natural-looking images" in done.stdout
    assert "name photographs with --calibrate" in done.stdout


@needs_onnxruntime
@pytest.mark.parametrize(
    ("arguments", "count", "words"),
    [
        ([], 20, "--calibrate has no effect in fp32"),
        (["--precision", "int8"], 0, "there is no folder photos"),
        (["--precision", "int8"], 15, "photos has 15 images, and 16 at least are needed"),
    ],
)
def test_photographs_that_cannot_be_used_are_one_message(bench, tmp_path, arguments, count, words):
    write_photos(tmp_path / "photos", count)
    done = bench(*EXPORT, "resnet50", "--out", "net.onnx", "--calibrate", "photos", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@needs_onnxruntime
def test_photographs_do_not_fit_a_network_of_one_channel(bench, tmp_path):
    write_photos(tmp_path / "photos", 20)
    command = ("export", "--to", "onnx", "resnet50", "--out", "net.onnx", "--precision", "int8")
    done = bench(*command, "--input", "1x64x64", "--calibrate", "photos")
    assert done.returncode == 2
    assert "3 channels" in done.stderr


@needs_onnxruntime
def test_a_damaged_photograph_is_named(bench, tmp_path):
    write_photos(tmp_path / "photos", 20)
    (tmp_path / "photos" / "0" / "4.png").write_bytes(b"no image")
    arguments = ("--precision", "int8", "--calibrate", "photos", "--out", "net.onnx")
    done = bench(*EXPORT, "resnet50", *arguments)
    assert (done.returncode, "4.png cannot be read as an image" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("found", "weights", "words"),
    [
        (None, "net.safetensors", "name photographs with --calibrate"),
        (Agreement(99, 100, 19), "net.safetensors", "finds 19 classes in 100 photographs"),
        (Agreement(99, 100, 20), "net.safetensors", "99 of 100 photographs"),
        (Agreement(99, 100, 20), "as the code makes them", "99.0% (95 % interval 94.6% to 99.8%)"),
        (Agreement(99, 100, 20), RANDOM, "from random weights"),
    ],
)
def test_agreement_is_said_only_where_there_are_enough_classes(found, weights, words):
    assert words in agreement_text(found, weights)


SVD = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x.mean(1))
def net():
    return Net()
"""


@needs_onnxruntime
@pytest.mark.slow
def test_a_network_that_cannot_be_exported_writes_no_file(bench_process, tmp_path):
    (tmp_path / "net.py").write_text(SVD)
    done = bench_process(*EXPORT, "net.py:net", "--out", "net.onnx")
    assert done.returncode == 1
    assert "linalg_svd" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == []


@needs_onnxruntime
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["repnext_u3_t"], "names 4 networks"),
        (["resnet50,swin_t"], "names 2 networks"),
        (["resnet51"], "unknown model 'resnet51'"),
        (["resnet50", "--to", "tflite"], "unknown kind of file 'tflite'"),
        (["resnet50", "--out", "nowhere/net.onnx"], "there is no folder nowhere"),
        (["resnet50", "--out", "."], "is a folder"),
        (["resnet50", "--to", "openvino"], "Name the first one: --out net.xml"),
        (["resnet50", "--to", "openvino", "--out", "."], "is a folder"),
        (["resnet50", "--device", "fake"], "the fake device has no networks to export"),
        (["resnet50", "--batch", "0"], "invalid batch 0"),
    ],
)
def test_wrong_use_is_one_message(bench, arguments, words):
    done = bench(*EXPORT, "--out", "net.onnx", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_needs_a_gpu(bench):
    done = bench(*EXPORT, "resnet50", "--to", "engine", "--out", "net.engine")
    assert done.returncode == 3
    assert "TensorRT needs an NVIDIA GPU" in done.stderr


@needs_onnxruntime
def test_a_precision_that_the_runtime_lacks_is_not_available(bench):
    done = bench(*EXPORT, "resnet50", "--out", "net.onnx", "--precision", "fp16")
    assert done.returncode == 3
    assert "no fp16 with onnxruntime here" in done.stderr


def test_without_the_runtime_the_line_that_installs_it_is_printed(bench, monkeypatch):
    monkeypatch.setattr(
        BACKENDS["onnxruntime"], "missing", lambda device: "no onnx: pip install 'x[onnxruntime]'"
    )
    done = bench(*EXPORT, "resnet50", "--out", "net.onnx")
    assert done.returncode == 3
    assert "no backend onnxruntime here: no onnx: pip install 'x[onnxruntime]'" in done.stderr
    done = bench("run", "--models", "resnet50", "--backend", "onnxruntime")
    assert (done.returncode, "pip install" in done.stderr) == (3, True)
    listed = bench("list", "backends").stdout
    assert "onnxruntime    not available: no onnx" in listed

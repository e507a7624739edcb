"""`bench eval`: accuracies on record, forms image by image, and bad input."""

import itertools
import json

import msgspec
import pytest
import torch
from PIL import Image
from support.pictures_of_classes import write_classes

from bench.harness.images import provenance
from bench.harness.images.provenance import Provenance
from bench.models import repnext

NET = """
from bench.models import repnext

def net():
    return repnext.repnext("u3", repnext.Size((8, 8, 8, 8), (1, 1, 1, 1)), 2)
"""
EVAL = ("eval", "--data", "images", "--resolution", "32", "--batch", "3", "--out", "results")
WEIGHED = ("--models", "net.py:net+w.pt")


@pytest.fixture(autouse=True)
def here(tmp_path):
    write_classes(tmp_path / "images", ("cat", "dog"), 1)
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    net = repnext.repnext("u3", repnext.Size((8, 8, 8, 8), (1, 1, 1, 1)), 2)
    for each in range(3):  # statistics that are not those of a new BatchNorm
        net.train()(torch.randn(4, 3, 32, 32) + each)
    torch.save(net.state_dict(), tmp_path / "w.pt")


def records(tmp_path):
    lines = [each.read_text().splitlines() for each in tmp_path.glob("results/*/results.jsonl")]
    return [msgspec.json.decode(line) for line in itertools.chain(*lines)]


def test_all_forms_are_evaluated_once_and_the_report_shows_them(bench, tmp_path):
    done = bench(*EVAL, *WEIGHED)
    assert done.returncode == 0, done.stdout + done.stderr
    made = [each for each in records(tmp_path) if each["type"] == "evaluation"]
    assert [each["case"]["form"] for each in made] == ["plain", "rrep", "rrep_fc", "srep"]
    assert [each["same"] for each in made] == [None, 4, 4, 4]
    assert len({each["top1"] for each in made}) == 1
    assert done.stdout.count("the same class as trained for 4 of 4 images, 100.0 % (") == 3
    again = bench(*EVAL, *WEIGHED)
    assert again.returncode == 0
    assert again.stdout.count("top-1 ") == 4
    assert len(records(tmp_path)) == 5
    assert bench("report", "results").returncode == 0
    page = (tmp_path / "results" / "accuracy.md").read_text()
    assert page.count(" 100.00 (51.01 to 100.00) |") == 3
    assert (tmp_path / "results" / "report.md").read_text().count("5 lines of results, all used")


def test_one_form_may_be_named_and_json_has_the_records(bench, tmp_path):
    done = bench(*EVAL, "--models", "net.py:net+w.pt@rrep", "--dataset", "toys", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["dataset"], found["images"], found["case"]["form"]) == ("toys", 4, "rrep")


def test_a_form_that_is_wrong_on_images_is_a_failure_and_a_line(bench, tmp_path):
    code = """
from torch import nn
import torch

class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))

def net():
    return Half()
"""
    (tmp_path / "half.py").write_text(code)
    endless = {"fc.weight": torch.full((2, 3), torch.inf), "fc.bias": torch.ones(2)}
    torch.save(endless, tmp_path / "inf.pt")
    done = bench(*EVAL, "--models", "half.py:net+inf.pt")
    assert done.returncode == 1
    assert "failed at evaluate: CheckError: at check: " in done.stdout
    assert "add --retry-failed" in done.stdout
    assert bench("report", "results").returncode == 0
    assert "## Failures" in (tmp_path / "results" / "accuracy.md").read_text()
    assert bench(*EVAL, "--models", "half.py:net+inf.pt").returncode == 1
    assert len(records(tmp_path)) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--models", "resnet50"), "resnet50 would have random weights"),
        ((*WEIGHED, "--data", "nowhere"), "there is no folder or zip nowhere"),
        ((*WEIGHED, "--device", "fake"), "the fake device classifies no images"),
        ((*WEIGHED, "--dataset", "My Set"), "is not lower-case letters and digits"),
        ((*WEIGHED, "--workers", "-1"), "invalid workers -1"),
        ((*WEIGHED, "--calibrate", "images"), "--calibrate has no effect in floating point"),
        (("--models", "net.py:net+none.pt"), "none.pt"),
        ((*WEIGHED, "--input", "1x32x32"), "images have 3 channels, unlike --input 1x32x32"),
    ],
)
def test_bad_input_is_one_message(bench, tmp_path, flags, said):
    done = bench(*EVAL, *flags)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not records(tmp_path)


def test_images_that_cannot_be_read_are_named_and_left_out_if_wanted(bench, tmp_path):
    (tmp_path / "images" / "val" / "dog" / "1.png").write_bytes(b"no image")
    flags = (*EVAL, "--models", "net.py:net+w.pt@plain")
    refused = bench(*flags)
    assert refused.returncode == 2
    assert "1 of 4 images cannot be read: val/dog/1.png" in refused.stderr
    done = bench(*flags, "--skip-unreadable")
    assert done.returncode == 0, done.stderr
    assert records(tmp_path)[-1]["images"] == 3


def write_provenance(folder, **changes):
    known = Provenance("plain", ["cat", "dog"], 32, 1.0)
    content = msgspec.json.encode(msgspec.structs.replace(known, **changes))
    (folder / provenance.NAME).write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["cat", "wolf"]}, "trained on 2 classes, and the images have 2: dog, wolf"),
        ({"classes": ["dog", "cat"]}, "the same ones, in another order differ"),
        ({"form": "rrep"}, "has weights that were trained in the form rrep"),
    ],
)
def test_weights_of_another_training_are_refused(bench, tmp_path, changes, said):
    write_provenance(tmp_path, **changes)
    done = bench(*EVAL, *WEIGHED)
    assert done.returncode == 2
    assert said in done.stderr


def test_weights_of_a_training_are_evaluated_with_its_crop(bench, tmp_path):
    write_provenance(tmp_path, resolution=64)
    done = bench(*EVAL, "--models", "net.py:net+w.pt@plain")
    assert "trained at 64 pixels, evaluated at 32; --resolution 64 evaluates it" in done.stdout
    assert records(tmp_path)[-1]["crop_share"] == 1.0


def test_a_network_that_does_not_fit_does_not_stop_the_others(bench, tmp_path):
    wide = repnext.repnext("u3", repnext.Size((8, 8, 8, 8), (1, 1, 1, 1)), 5)
    torch.save(wide.state_dict(), tmp_path / "wide.pt")
    (tmp_path / "wide.py").write_text(NET.replace(", 2)", ", 5)"))
    models = "wide.py:net+wide.pt@plain,net.py:net+w.pt@plain"
    done = bench(*EVAL, "--models", models)
    assert done.returncode == 2
    assert "wide.py:net" in done.stderr
    assert "the images have 2 classes, and the network answers 5" in done.stderr
    (made,) = [each for each in records(tmp_path) if each["type"] == "evaluation"]
    assert made["case"]["model"].startswith("net.py:net")


def test_other_images_of_the_same_names_are_evaluated_anew(bench, tmp_path):
    flags = (*EVAL, "--models", "net.py:net+w.pt@plain")
    assert bench(*flags).returncode == 0
    for path in (tmp_path / "images" / "val" / "cat").iterdir():
        Image.new("RGB", (9, 9)).save(path)
    assert bench(*flags).returncode == 0
    assert len({each.get("images_hash") for each in records(tmp_path)} - {None}) == 2


def test_more_classes_than_the_network_answers_are_refused(bench, tmp_path):
    write_classes(tmp_path / "other", ("cat", "dog", "wolf"), 1)
    done = bench(*EVAL, "--models", "net.py:net+w.pt@plain", "--data", "other")
    assert done.returncode == 2
    assert "the images have 3 classes, and the network answers 2" in done.stderr


@pytest.mark.slow
def test_integers_are_calibrated_on_photographs_and_compared_with_floats(bench, tmp_path):
    write_classes(tmp_path / "photos", ("cat", "dog"), 8)
    flags = (*EVAL, "--models", "net.py:net+w.pt@rrep", "--backend", "onnxruntime")
    flags += ("--precision", "int8")
    for more in ((), ("--calibrate", "photos/train")):
        done = bench(*flags, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    synthetic, own = [each for each in records(tmp_path) if each["type"] == "evaluation"]
    assert synthetic["calibration"] == "16 random and 16 natural-looking images"
    assert own["calibration"] == "4 images of train"
    assert (synthetic["calibration_hash"], len(own["calibration_hash"])) == ("", 16)
    assert 1e-4 < own["error"] < 1
    again = bench(*flags, "--calibrate", "photos/train")
    assert again.stdout.count("top-1") == 1
    assert len(records(tmp_path)) == 4

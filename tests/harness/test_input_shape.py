"""`--input`: the shape of an image."""

import json

import pytest

from bench.harness.input_shape import shape_of

NET = """
import torch
from torch import nn

class Grey(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        assert x.shape[1:] == (1, 24, 40)
        return self.conv(x).mean((2, 3))

def grey():
    return Grey()

class Two(nn.Module):
    def forward(self, image, scale):
        return {"logits": image.mean((2, 3)) * scale, "parts": [scale, (image.sum((1, 2, 3)),)]}

def two():
    return Two()
"""
EXAMPLE = """
def example_inputs(batch, resolution):
    return torch.randn(batch, 2, resolution, resolution), torch.ones(batch, 1)
"""


def test_the_shape_of_a_case_is_empty_for_a_square_image_of_three_channels():
    assert shape_of("3x64x64").of_case == ""
    assert shape_of("3x64x64").resolution == 64
    assert shape_of("03x64x96").of_case == "3x64x96"
    assert shape_of("1x64x64").of_case == "1x64x64"
    assert shape_of("1x64x96").resolution == 96


@pytest.mark.parametrize("text", ["64", "64x64", "3x64x64x1", "axbxc", "3x64x", "-1x2x3", ""])
def test_another_text_is_refused_with_an_example(bench, text):
    done = bench("run", "--models", "resnet50", f"--input={text}", "--device", "fake")
    assert done.returncode == 2
    assert "--input 1x224x320" in done.stderr


def test_input_and_resolution_exclude_each_other(bench):
    run = ("run", "--models", "resnet50", "--device", "fake", "--input", "3x64x64")
    assert bench(*run, "--resolution", "64").returncode == 2
    assert bench(*run, "--rounds", "1", "--batch", "1").returncode == 0
    assert "--input 3x" not in bench(*run[:-1], "0x64x64").stdout
    assert bench(*run[:-1], "0x64x64").returncode == 2


def test_networks_of_the_paper_take_three_channels(bench):
    done = bench("run", "--models", "resnet50", "--device", "fake", "--input", "1x64x64")
    assert done.returncode == 2
    assert "takes images of 3 channels" in done.stderr


def run(bench, model, *flags):
    done = bench("run", "--models", f"net.py:{model}", "--batch", "1", "--preset", "quick",
                 "--rounds", "1", "--json", *flags)  # fmt: skip
    return done, json.loads(done.stdout)[0]


@pytest.mark.slow
@pytest.mark.usefixtures("without_timm")
def test_one_channel_and_a_wide_image_are_measured_and_named(bench, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    done, found = run(bench, "grey", "--input", "1x24x40")
    assert (done.returncode, found["failure"]) == (0, None)
    assert (found["case"]["input"], found["case"]["resolution"]) == ("1x24x40", 40)
    done, found = run(bench, "grey")
    assert done.returncode == 1
    assert "--input" in found["failure"]["message"]  # what is given, and the flag that changes it


@pytest.mark.slow
@pytest.mark.usefixtures("without_timm")
def test_several_inputs_and_nested_outputs_are_measured(bench, tmp_path):
    (tmp_path / "net.py").write_text(NET + EXAMPLE)
    done, found = run(bench, "two", "--resolution", "32")
    assert (done.returncode, found["failure"]) == (0, None)
    (tmp_path / "net.py").write_text(NET)
    done, found = run(bench, "two", "--resolution", "32")
    assert done.returncode == 1
    assert "example_inputs" in found["failure"]["message"]

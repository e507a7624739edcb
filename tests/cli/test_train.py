"""`bench train`: a whole training, going on after Ctrl-C, and bad input."""

import json
import sys

import pytest
import torch
from support.pictures_of_classes import write_classes

from bench.cli import interrupts
from bench.cli import train as command_train
from bench.models import user
from bench.records import Source

NET = """
from torch import nn

def net():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
"""
RECIPE = "epochs = 2\nbatch = 4\nrate = 0.01\nresolution = 16\nwarmup_epochs = 1\nema = 0.9\n"
TRAIN = ("train", "--model", "net.py:net", "--data", "images", "--recipe", "mine.toml")
TRAIN += ("--workers", "0", "--out", "out")


@pytest.fixture(autouse=True)
def own_imports(monkeypatch):
    """The state of the import system ends with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("_bench_user_"):
            del sys.modules[name]
    sys.path_importer_cache.clear()


@pytest.fixture(autouse=True)
def here(tmp_path):
    write_classes(tmp_path / "images", ("cat", "dog"), 4)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "mine.toml").write_text(RECIPE)


def hash_in(done):
    return done.stdout.rpartition("(hash ")[2].partition(")")[0]


def test_a_training_leaves_weights_that_other_commands_read(bench, tmp_path):
    done = bench(*TRAIN)
    assert done.returncode == 0, done.stderr
    assert "8 images of 2 classes to train on, 4 held out" in done.stdout
    assert "epoch 2: loss " in done.stdout
    assert "% with averaged weights; " in done.stdout
    out = tmp_path / "out"
    assert {"checkpoint.pt", "weights.pt", "weights-ema.pt", "log.jsonl", "curves.png"} <= {
        each.name for each in out.iterdir()
    }
    assert len((out / "log.jsonl").read_text().splitlines()) == 2
    for name in ("weights.pt", "checkpoint.pt"):
        model = user.with_weights(user.UserModel("net", Source()), out / name)
        assert "0.0.weight" in user.read_weights(model.source).tensors


def test_the_same_command_again_trains_nothing_and_again_starts_anew(bench, tmp_path):
    first = bench(*TRAIN)
    state = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    second = bench(*TRAIN)
    assert second.returncode == 0
    assert hash_in(second) == hash_in(first)
    assert "all 2 epochs are complete" in second.stdout
    assert bench(*TRAIN, "--again", "--data", "nowhere").returncode == 2
    assert (tmp_path / "out" / "checkpoint.pt").exists()
    assert bench(*TRAIN, "--again").returncode == 0
    again = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert state["history"][0]["loss"] == again["history"][0]["loss"]


def test_ctrl_c_keeps_what_was_trained_and_the_same_command_continues(bench, tmp_path, monkeypatch):
    left = [1]

    def check():
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    whole = bench(*TRAIN[:-1], "whole")
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "check", check)
        stopped = bench(*TRAIN)
    assert stopped.returncode == 130
    assert "Run the same command again to continue" in stopped.stderr
    done = bench(*TRAIN)
    assert done.returncode == 0, done.stderr
    assert "continues in epoch 1, after 1 updates" in done.stdout
    assert hash_in(done) == hash_in(whole)


def test_images_that_cannot_be_read_are_named_and_left_out_only_on_request(bench, tmp_path):
    (tmp_path / "images" / "train" / "cat" / "1.png").write_bytes(b"no image")
    done = bench(*TRAIN)
    assert done.returncode == 2
    assert "1 of 8 images cannot be read: train/cat/1.png" in done.stderr
    done = bench(*TRAIN, "--skip-unreadable")
    assert done.returncode == 0, done.stderr
    assert "left out: 1 of 8 images cannot be read: train/cat/1.png" in done.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--data", "nowhere"), "there is no folder or zip nowhere"),
        (("--recipe", "imagenet"), "unknown recipe 'imagenet'"),
        (("--model", "resnet51"), "unknown model 'resnet51'"),
        (("--batch", "3"), "need an even batch, not 3"),
        (("--batch", "64"), "8 images are fewer than a batch of 64"),
        (("--epochs", "0"), "invalid epochs 0"),
        (("--rate", "0"), "invalid rate 0"),
        (("--accumulate", "4"), "4 equal parts of a batch of 4 need 2 images each"),
        (("--accumulate", "3"), "3 equal parts of a batch of 4"),
        (("--epochs", "1"), "the warm-up of 1 epochs leaves none of 1"),
        (("--seed", "-1"), "invalid seed -1"),
        (("--resolution", "2"), "the network does not take images of 2 x 2 pixels"),
        (("--workers", "-1"), "invalid workers -1"),
        (("--device", "orin"), "no training on 'orin'"),
        (("--save-every", "soon"), "--save-every 'soon' is not a time"),
    ],
)
def test_bad_input_is_one_message(bench, flags, said):
    done = bench(*TRAIN, *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_another_recipe_does_not_continue_a_training(bench):
    assert bench(*TRAIN).returncode == 0
    done = bench(*TRAIN, "--rate", "0.5")
    assert done.returncode == 2
    assert "in the recipe, rate was 0.01, now 0.5" in done.stderr
    assert "--again" in done.stderr


def test_a_network_with_other_classes_is_refused_before_it_trains(bench, tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("nn.Linear(8, 2)", "nn.Linear(8, 7)"))
    done = bench(*TRAIN)
    assert done.returncode == 2
    assert (
        "the data has 2 classes, and the output of the network has the shape (2, 7)" in done.stderr
    )
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_folder_that_another_training_holds_is_refused(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.storage.lock.WAIT_S", 0.1)
    (tmp_path / "out").mkdir()
    with command_train._folder(tmp_path / "out"):
        done = bench(*TRAIN)
    assert done.returncode == 2
    assert "another run is training into" in done.stderr


def test_other_code_under_the_same_name_does_not_continue_a_training(bench, tmp_path):
    assert bench(*TRAIN).returncode == 0
    (tmp_path / "net.py").write_text(NET.replace("nn.ReLU()", "nn.GELU()"))
    done = bench(*TRAIN)
    assert done.returncode == 2
    assert "is of another training: model was" in done.stderr


def test_the_log_is_json(bench, tmp_path):
    assert bench(*TRAIN).returncode == 0
    for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines():
        assert {"epoch", "loss", "top1", "top1_ema", "waited_s"} <= json.loads(line).keys()

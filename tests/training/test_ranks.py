"""Training in several processes: each update is that of one process, and stopping is exact."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from support.pictures_of_classes import write_classes

from bench.training.ranks import Ranks, is_lost, joined

NET = """
from torch import nn

def net():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.{norm}, nn.ReLU())
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
"""
RECIPE = """
epochs = {epochs}
batch = 8
rate = 0.01
resolution = 16
warmup_epochs = 1
ema = 0.9
"""
SAME_UPDATES = 'mixup = 0\ncutmix = 0\nrand_augment = ""\n'
TRAIN = ("-m", "bench", "train", "--model", "net.py:net", "--data", "images", "--workers", "0")
TRAIN += ("--recipe", "mine.toml", "--threads", "1")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def write_training(folder, norm="BatchNorm2d(8)", epochs=4, more=""):
    write_classes(folder / "images", ("cat", "dog"), 8)
    (folder / "net.py").write_text(NET.format(norm=norm))
    (folder / "mine.toml").write_text(RECIPE.format(epochs=epochs) + more)


def start(folder, *words):
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said_by(process, code=0):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


def hash_in(said):
    assert said.count("(hash ") == 1  # the first process alone tells
    return said.rpartition("(hash ")[2].partition(")")[0]


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as ranks:
        assert ranks == Ranks(0, 1)
        assert ranks.part([3, 1, 2]) == [3, 1, 2]
        assert ranks.sums(1.5, 2.0) == [1.5, 2.0]


def test_a_batch_is_shared_without_overlap():
    parts = [Ranks(rank, 3).part(range(9)) for rank in range(3)]
    assert sorted(place for part in parts for place in part) == list(range(9))
    assert {len(part) for part in parts} == {3}


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one(tmp_path):
    write_training(tmp_path, norm="Identity()", more=SAME_UPDATES)
    said_by(start(tmp_path, *TRAIN, "--out", "one"))
    said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--out", "two"))
    one, two = (torch.load(tmp_path / name / "weights.pt") for name in ("one", "two"))
    for name, expected in one.items():
        assert torch.allclose(two[name], expected, atol=1e-6), name


@pytest.mark.slow
def test_two_processes_that_were_stopped_continue_exactly(tmp_path):
    write_training(tmp_path, epochs=400)
    whole = hash_in(said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--out", "whole")))
    for sent in (signal.SIGINT, signal.SIGKILL):
        process = start(tmp_path, *TORCHRUN, *TRAIN, "--out", "stopped")
        deadline = time.monotonic() + 60
        before = (tmp_path / "stopped" / "log.jsonl").exists() and mtime(tmp_path)
        while mtime(tmp_path) in (None, before):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sent)
        process.communicate(timeout=60)
        assert process.returncode
    said = said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--out", "stopped"))
    assert "continues in epoch" in said
    assert hash_in(said) == whole


def mtime(folder):
    path = folder / "stopped" / "log.jsonl"
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_one_message(tmp_path):
    write_training(tmp_path)
    said = said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--batch", "6", "--out", "out"), code=1)
    assert said.count("error: Mixup and CutMix need an even batch, not 3") == 1


@pytest.mark.slow
def test_another_number_of_processes_is_another_training(tmp_path):
    write_training(tmp_path)
    said_by(start(tmp_path, *TRAIN, "--out", "out"))
    said = said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--out", "out"), code=1)
    assert "is of another training: processes was 1, now 2" in said


@pytest.mark.slow
def test_an_image_that_only_one_process_meets_is_named(tmp_path):
    write_training(tmp_path, epochs=2)
    code = """
import bench.harness.images.sets as sets
sets.Files.is_readable = lambda self, place: True
"""
    (tmp_path / "net.py").write_text(code + NET.format(norm="BatchNorm2d(8)"))
    (tmp_path / "images" / "train" / "dog" / "3.png").write_bytes(b"no image")
    said = said_by(start(tmp_path, *TORCHRUN, *TRAIN, "--out", "out"), code=1)
    assert said.count("train/dog/3.png cannot be read as an image") == 1


def test_a_lost_process_is_known_by_its_error():
    assert is_lost(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer"))
    assert not is_lost(RuntimeError("shapes do not fit"))

"""A training that is killed at any moment ends with the weights of one that never was."""

import random
import subprocess
import sys
import time

import pytest
from support.pictures_of_classes import write_classes

NET = """
from torch import nn

def net():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
"""
RECIPE = "epochs = 60\nbatch = 8\nrate = 0.01\nresolution = 24\nwarmup_epochs = 1\nema = 0.9\n"
TRAIN = ("-m", "bench", "train", "--model", "net.py:net", "--data", "images", "--threads", "1")
TRAIN += ("--recipe", "mine.toml", "--save-every", "0.1s", "--workers", "1")


def start(folder, out):
    return subprocess.Popen(
        [sys.executable, *TRAIN, "--out", out],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def hash_of(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said.rpartition("(hash ")[2].partition(")")[0]


def killed(folder, times):
    """Kill the training at so many random moments, then let it end; return the hash."""
    drawn = random.Random(times)
    for _ in range(times):
        with start(folder, "killed") as process:
            time.sleep(drawn.uniform(2, 9))
            process.kill()
    with start(folder, "killed") as process:
        return hash_of(process)


@pytest.fixture
def folder(tmp_path):
    write_classes(tmp_path / "images", ("cat", "dog", "owl"), 20)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.slow
def test_a_training_killed_three_times_has_the_weights_of_one_that_was_not(folder):
    with start(folder, "whole") as process:
        whole = hash_of(process)
    assert len(whole) == 16
    assert killed(folder, 3) == whole


@pytest.mark.faults
def test_a_training_killed_twenty_times_has_the_weights_of_one_that_was_not(folder):
    with start(folder, "whole") as process:
        whole = hash_of(process)
    assert killed(folder, 20) == whole

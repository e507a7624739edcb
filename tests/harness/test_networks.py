"""Networks of the user are built before a run, and named by what they are."""

from pathlib import Path

import pytest
from support.records import CHIP, FAKE_CHIP

from bench.errors import UsageError
from bench.harness.scheduler import answers
from bench.harness.suite import Overrides, Suite, expand, select

NET = """
import os, signal, sys, time
from torch import nn
from blocks import B, WIDTH

def net(): return nn.Sequential(nn.Conv2d(3, WIDTH, 3), B())
def again(): return net()
def wide(): return nn.Conv2d(3, int(open("width.txt").read()), 3)
def broken(): import late; raise RuntimeError("out of ideas")
def lost(): os.kill(os.getpid(), signal.SIGKILL)
def stopped(): sys.exit(3)
def hanging(): time.sleep(60)
def words(): return "a network"
"""
BLOCKS = "from torch import nn\nWIDTH = 4\ndef B(): return nn.ReLU()\n"


@pytest.fixture(autouse=True)
def nets(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("blocks.py").write_text(BLOCKS)
    Path("late.py").write_text("")
    Path("width.txt").write_text("5")


def selected(*factories, chip=CHIP):
    models = tuple(f"net.py:{factory}" for factory in factories)
    return select(Suite(batch=(1,)), Overrides(models=models), chip, None)


def named(*factories, chip=CHIP):
    return [case.model for case in selected(*factories, chip=chip).cases]


def test_a_name_changes_with_an_imported_module_and_with_what_is_built():
    factories = ("net", "wide", "broken", "lost", "stopped")
    cases, sources, _ = selected(*factories)
    files = {name.partition("#")[0]: dict(source.files) for name, source in sources.items()}
    assert list(files["net.py:net"]) == ["blocks.py", "net.py"]
    assert list(files["net.py:broken"]) == ["blocks.py", "late.py", "net.py"]
    assert list(files["net.py:lost"]) == ["net.py"]  # its process could not tell more
    Path("late.py").write_text("changed = True")
    Path("width.txt").write_text("6")
    changed = [case.model != name for case, name in zip(cases, named(*factories), strict=True)]
    assert changed == [False, True, True, False, False]


def test_code_that_hangs_is_named_by_its_file(monkeypatch):
    monkeypatch.setattr(answers, "DEADLINE_S", 0.5)
    (name,) = named("hanging")
    assert name.startswith("net.py:hanging#")


def test_code_that_makes_no_network_ends_the_command_before_anything_runs(bench, tmp_path):
    done = bench("run", "--models", "net.py:net,net.py:words", "--out", "out", "--batch", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: net.py:words: words() returned str, not an nn.Module",
        "A factory is a function without arguments that returns a network: `def net(): ...`.",
    ]
    assert not (tmp_path / "out").exists()


def test_a_simulated_device_runs_no_code():
    (name,) = named("words", chip=FAKE_CHIP)
    assert name.startswith("net.py:words#")


def test_a_mistake_in_another_flag_is_told_before_the_code_runs():
    with pytest.raises(UsageError, match="batch 0"):
        expand(Suite(batch=(0,)), Overrides(models=("net.py:words",)), CHIP, None)

"""Networks of the user are built before a run, and named by what they are."""

import contextlib
from pathlib import Path

import pytest
from support.records import CHIP, FAKE_CHIP

from bench import devices
from bench.errors import UsageError
from bench.harness.scheduler import answers
from bench.harness.suite import Overrides, Suite, expand, select
from bench.storage import lock
from bench.storage.results import Store

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

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
    def fuse(self): return self.conv
    def forward(self, x): return self.conv(x)

class Steps(nn.Sequential):
    def forward(self, x):
        if x.mean() > 0: x = x + 1
        return super().forward(x)

def branches(): open("calls", "a").write("x"); return nn.Sequential(Branches())
def untraced(): return Steps(Branches(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
"""
GREY = """
import torch
from torch import nn

def net(): return nn.Conv2d(1, 4, 3)
def example_inputs(batch, resolution): return torch.zeros(batch, 1, 40, 40)
"""
pytestmark = pytest.mark.usefixtures("without_timm")
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
    cases, sources, *_ = selected(*factories)
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


def test_a_form_that_a_network_does_not_have_ends_the_command(bench, tmp_path):
    models = "net.py:branches@rrep,net.py:branches@train,net.py:net@rrep"
    done = bench("run", "--models", models, "--out", "out", "--batch", "1")
    assert done.returncode == 2
    said, remedy = done.stderr.splitlines()
    assert said == "error: net.py:net has no form 'rrep'"
    assert remedy.startswith("It has: plain. ")
    assert not (tmp_path / "out").exists()


def test_example_inputs_that_a_shape_replaces_are_named():
    Path("grey.py").write_text(GREY)
    models = ("grey.py:net", "net.py:branches@rrep")
    found = select(Suite(), Overrides(models=models, input="1x24x40", batch=(1,)), CHIP, None)
    (note,) = found.notes
    assert note.startswith("grey.py:net: its example_inputs is not used, because --input")
    assert [case in found.built for case in found.cases] == [True, False]
    assert select(Suite(), Overrides(models=models[:1], input="3x40x40"), CHIP, None).notes == []


def test_a_dry_run_builds_a_network_once_and_merges_what_a_run_merges(bench):
    dry = ("run", "--batch", "1", "--dry-run", "--input", "3x24x40", "--models")
    assert bench(*dry, "net.py:branches,net.py:untraced@rrep").returncode == 0
    assert Path("calls").read_text() == "x"


@pytest.mark.parametrize("held", ["device", "file"])
def test_another_run_is_noticed_before_the_users_code_runs(bench, tmp_path, monkeypatch, held):
    monkeypatch.setattr(lock, "WAIT_S", 0.0)
    _, chip = devices.select("cpu")
    store = Store(tmp_path / "out" / chip.slug)
    with lock.device(chip) if held == "device" else contextlib.closing(store):
        if held == "file":
            store.open()
        done = bench("run", "--models", "net.py:branches", "--out", "out", "--batch", "1")
    assert done.returncode == 2
    doing = {"device": f"measuring on {chip.slug}", "file": f"writing to out/{chip.slug}/"}
    assert f"another run is {doing[held]}" in done.stderr
    assert not Path("calls").exists()

"""What the worker records of the settings that decide the speed of its process."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from support.networks import conv, head, measured, module, timed
from support.runs import REAL_RUN, recorded
from support.threads import start_refused
from torch import nn

from bench.analysis.reasons import Observation
from bench.analysis.verdict import Machine, judge
from bench.devices import precision, process_state
from bench.harness.protocol.messages import Finished


def layers():
    return nn.Sequential(conv(), head())


def observed(made):
    return [reason.observation for reason in judge(made, Machine()).reasons]


def test_a_small_network_that_cannot_use_two_threads_is_not_accused():
    made = measured(layers, threads=2)
    assert made.conditions.threads_used > 1.6  # above 2 where other tests left threads behind
    assert made.settings["threads"] == 2
    assert {Observation.FEWER_THREADS, Observation.SETTING_DIFFERS} & {*observed(made)} == set()


def test_what_was_off_before_the_network_was_built_is_named():
    """As a `sitecustomize` may do it; no code of the network changes it."""
    torch.backends.mkldnn.set_flags(False)
    try:
        made = measured(layers)
    finally:
        torch.backends.mkldnn.set_flags(True)
    assert made.settings["mkldnn"] is False
    assert Observation.SETTING_DIFFERS in observed(made)


def test_what_a_factory_turns_off_is_on_again_while_it_is_timed_and_is_named():
    def make():
        torch.backends.mkldnn.set_flags(False)
        return layers()

    try:
        done = timed(make)
    finally:
        torch.backends.mkldnn.set_flags(True)
    assert isinstance(done, Finished), done
    assert done.settings["mkldnn"] is True
    (note,) = done.facts.notes
    assert (
        note
        == "the code of the network changed the switches of cuDNN and oneDNN; bench set it back"
    )


@pytest.mark.parametrize(
    ("variable", "is_named"),
    [("ONEDNN_MAX_CPU_ISA", True), ("MKL_CBWR", True), ("OMP_NUM_THREADS", False)],
)
def test_a_variable_that_a_factory_sets_too_late_to_undo_is_named(monkeypatch, variable, is_named):
    """Some packages set OMP_NUM_THREADS when they are imported, which then has no effect."""
    monkeypatch.delenv(variable, raising=False)

    def make():
        os.environ[variable] = "1"
        return layers()

    try:
        made = measured(make)
    finally:
        del os.environ[variable]
    assert ("the variables of MKL and oneDNN" in made.changed) is is_named
    assert (Observation.SETTING_CHANGED in observed(made)) is is_named
    assert any(variable in warning for warning in made.warnings) is is_named


def refuse(*_):
    raise RuntimeError("mixed settings")


def plant_in_switches(monkeypatch):
    for owner, name in ((torch.backends.cudnn, "benchmark"), (torch.backends.mkldnn, "enabled")):
        monkeypatch.setattr(type(owner), name, property(refuse, lambda *_: None))
    monkeypatch.setattr(type(torch.backends.cuda.matmul), "__getattr__", refuse)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)


def plant_in_settings(monkeypatch):
    for name, setting in process_state.SETTINGS.items():
        monkeypatch.setitem(process_state.SETTINGS, name, setting._replace(read=refuse))


def mix(monkeypatch):
    """Set a newer switch, which contradicts the older ones that bench has set."""
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this release of torch has only the older switches")
    torch.backends.fp32_precision = "tf32"


@pytest.mark.parametrize("change", [plant_in_switches, plant_in_settings, mix])
def test_settings_that_torch_refuses_to_read_lose_no_round(monkeypatch, change):
    """The network changes them between the blocks."""
    before = precision.modes()
    with monkeypatch.context() as changed:
        done = timed(layers, after_block=lambda: change(changed))
    precision.set_modes(before)
    assert isinstance(done, Finished), done
    assert done.changed or change is plant_in_switches
    assert change is plant_in_settings or None in done.settings.values()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may refuse in other words")
@pytest.mark.parametrize("stage", ["build", "first"])
def test_a_network_that_gets_no_thread_fails_with_what_to_do(stage):
    """The input is not at fault, so no other resolution is recommended."""

    def forward(self, x):
        start_refused()

    def make():
        if stage == "build":
            start_refused()
        return module(forward, layers=layers())

    failed = timed(make)
    assert failed.error == "RuntimeError"
    assert failed.message.startswith("can't start new thread. End other programs")
    assert "ulimit -u" in failed.message


@pytest.fixture
def cpus():
    """The CPUs of the process, at least two; a test may change them."""
    if not hasattr(os, "sched_getaffinity") or len(found := os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU")
    yield found
    os.sched_setaffinity(0, found)


CPUS = "the CPUs of the process"


def test_cpus_that_another_process_takes_away_are_not_blamed_on_the_network(cpus):
    seen = []

    def forward(self, x):
        seen.append(threading.get_native_id())
        return self.layers(x)

    def take():
        os.sched_setaffinity(seen[-1], {min(cpus)})

    done = timed(lambda: module(forward, layers=layers()), after_block=take)
    assert done.changed == {}
    assert done.unattributed == {CPUS: f"from {len(cpus)} to 1"}


def test_a_network_that_leaves_cpus_at_each_call_is_named(cpus):
    def forward(self, x):
        os.sched_setaffinity(0, {min(cpus)})
        return self.layers(x)

    done = timed(lambda: module(forward, layers=layers()))
    assert done.changed == {CPUS: f"from {len(cpus)} to 1"}
    assert done.unattributed == {}


# In a call of its second block, the network waits until another process has taken its CPUs away.
CONFINED = """
import os, pathlib, time
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 10)
        self.calls = 0

    def forward(self, x):
        time.sleep(0.01)
        self.calls += 1
        if self.calls == 75:
            pathlib.Path("pid").write_text(f"{os.getpid()}.")
            while not pathlib.Path("taken").exists():
                time.sleep(0.01)
        return self.fc(x.mean((2, 3)))

def net():
    return Net()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines processes to CPUs")
def test_a_run_says_that_the_cpus_of_its_process_changed(bench, tmp_path, cpus):
    def take():
        pid = tmp_path / "pid"
        while not pid.exists() or not pid.read_text().endswith("."):
            time.sleep(0.01)
        for thread in Path(f"/proc/{pid.read_text()[:-1]}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {min(cpus)})
        (tmp_path / "taken").touch()

    (tmp_path / "net.py").write_text(CONFINED)
    threading.Thread(target=take, daemon=True).start()
    bench(*REAL_RUN, "--device", "cpu", "--models", "net.py:net", "--resolution", "32")
    (record,) = recorded(tmp_path, "measurement")
    assert (record["changed"], [*record["unattributed"]]) == ({}, [CPUS])
    said = " ".join(bench("explain", "net.py:net", "--in", "out").stdout.split())
    assert f"the CPUs of the process changed from {len(cpus)} to 1 during the round" in said
    assert "the network changed" not in said

"""Settings of the process that a network's code may change are set back and named."""

import os

import pytest
import torch
from torch import backends

from bench.devices import precision, process_state
from bench.devices.process_state import ProcessState


@pytest.fixture(autouse=True)
def readable():
    """Leave switches that torch agrees to read."""
    yield
    torch.set_float32_matmul_precision("highest")
    precision.set_switches("fp32")


def owner(path):
    found = backends
    for part in filter(None, path.split(".")):
        found = getattr(found, part, None)
    return found


def by_newer_switch(path, value):
    def change():
        if not hasattr(owner(path), "fp32_precision"):
            pytest.skip("this release of torch has only the older switches")
        owner(path).fp32_precision = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
        lambda: setattr(backends.cudnn, "allow_tf32", True),
        *(by_newer_switch(path, "tf32") for path in ("", "cuda.matmul", "cudnn", "cudnn.conv")),
        *(by_newer_switch(path, "bf16") for path in ("mkldnn", "mkldnn.matmul", "mkldnn.conv")),
    ],
)
def test_every_switch_of_tf32_is_set_back(change):
    """torch raises an exception where an older switch contradicts a newer one."""
    precision.set_switches("fp32")
    before, state = precision.switches(), ProcessState()
    for _ in range(2):  # a factory, then a call
        change()
        (found,) = state.restore()
        assert (found.name, found.is_restored, found.counts) == ("the switches of TF32", True, True)
        assert precision.switches() == before
    assert state.restore() == []
    assert len(state.notes) == 1


def test_tf32_is_set_back_where_the_case_asks_for_it():
    precision.set_switches("tf32")
    before, state = precision.switches(), ProcessState()
    torch.set_float32_matmul_precision("highest")
    assert len(state.restore()) == 1
    assert precision.switches() == before


def test_switches_that_torch_refuses_to_read_are_none():
    state = ProcessState()
    if not hasattr(backends, "fp32_precision"):
        pytest.skip("this release of torch has only the older switches")
    backends.cuda.matmul.fp32_precision = "tf32"
    assert precision.switches()["matmul_tf32"] is None
    state.restore()


@pytest.fixture
def usable():
    """The CPUs of the process, at least two; a test may change them."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("one CPU")
    yield cpus
    os.sched_setaffinity(0, cpus)


def test_cpus_of_the_process_are_set_back_and_nobody_is_accused(usable):
    state = ProcessState()
    os.sched_setaffinity(0, {min(usable)})
    (change,) = state.restore()
    assert os.sched_getaffinity(0) == usable
    assert change.note == (
        f"the CPUs of the process changed from {len(usable)} to 1; bench set it back"
    )


INTEROP = "the number of interop threads"


def interop_threads_are(monkeypatch, read):
    """Let torch answer with `read`: the number of CPUs, until it starts these threads."""
    planted = process_state.SETTINGS[INTEROP]._replace(read=read)
    monkeypatch.setitem(process_state.SETTINGS, INTEROP, planted)


def test_cpus_that_are_away_for_one_reading_are_not_blamed_on_the_network(usable, monkeypatch):
    confined = []
    interop_threads_are(monkeypatch, lambda: confined.pop() if confined else len(usable))
    state = ProcessState()
    confined.append(1)
    assert state.restore() == []
    assert not confined


def test_cpus_that_come_back_are_not_blamed_on_the_network(usable, monkeypatch):
    """Another process takes CPUs away again after the settings were set back, then gives them."""

    def read():
        if away:
            os.sched_setaffinity(0, {min(usable)})
        return len(os.sched_getaffinity(0))

    away = []
    interop_threads_are(monkeypatch, read)
    state = ProcessState()
    away.append(True)
    assert state.restore() == []
    away.clear()
    os.sched_setaffinity(0, usable)
    assert state.restore() == []


def test_interop_threads_that_code_sets_are_named(usable, monkeypatch):
    numbers = [len(usable)]
    interop_threads_are(monkeypatch, lambda: numbers[-1])
    state = ProcessState()
    numbers.append(len(usable) + 1)
    (change,) = state.restore()
    assert (change.name, change.values) == (INTEROP, f"from {numbers[0]} to {numbers[1]}")


def test_cpus_that_a_cpuset_takes_away_are_one_change_that_stays(usable, monkeypatch):
    interop_threads_are(monkeypatch, lambda: len(os.sched_getaffinity(0)))
    state = ProcessState()
    os.sched_setaffinity(0, {min(usable)})
    with monkeypatch.context() as confined:
        confined.setattr(os, "sched_setaffinity", lambda thread, cpus: None)
        (change,) = state.restore()
    assert change.note == (
        f"the CPUs of the process changed from {len(usable)} to 1; it cannot be set back"
    )
    assert state.restore() == []


def test_as_many_other_cpus_are_called_others(usable):
    first, last = min(usable), max(usable)
    os.sched_setaffinity(0, {first})
    state = ProcessState()
    os.sched_setaffinity(0, {last})
    (change,) = state.restore()
    assert change.note == "the CPUs of the process changed to others; bench set it back"


def test_a_setting_that_cannot_be_set_again_is_named(monkeypatch):
    state = ProcessState()
    monkeypatch.setattr("bench.devices.process_state.SETTINGS", changed_inference_mode())
    (change,) = state.restore()
    assert change.note.endswith("from False to True; it cannot be set back")


def changed_inference_mode():
    from bench.devices.process_state import SETTINGS

    name = "the inference mode"
    return {name: SETTINGS[name]._replace(read=lambda: True)}

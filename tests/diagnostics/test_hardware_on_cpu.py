"""The real instruments and runs of a first contact, with the CPU as the hardware."""

import types

import pytest

from bench.devices import DEVICES, select
from bench.diagnostics.hardware import measure, memory, sensing, timing
from bench.diagnostics.hardware.disturb import disturbed
from bench.diagnostics.hardware.instruments import TorchInstruments
from bench.diagnostics.hardware.runs import real
from bench.errors import UnavailableError
from bench.records import Case
from bench.text import MIB

CPU = Case("", "", device="cpu", threads=1)


@pytest.fixture
def instruments():
    with DEVICES["cpu"].session(CPU) as session:
        yield TorchInstruments(session)


def test_bare_loop_and_session_time_the_same_calls(instruments):
    calls = []
    seconds = instruments.host_s(lambda: calls.append(1), 50)
    assert 0 < seconds < 1
    assert len(calls) >= 50
    assert instruments.device_s(lambda: None, 1) is None


def test_products_in_fp32_are_close_to_float64(instruments):
    errors = instruments.product_errors("fp32")
    assert errors.keys() == {"product", "convolution"}
    assert all(0 < error < 2e-5 for error in errors.values())


def test_a_cpu_has_no_sensor_and_its_work_takes_the_time_that_is_asked(instruments):
    assert {line.verdict for line in sensing.lines(instruments)} == {"NOT POSSIBLE"}
    began = instruments.seconds()
    instruments.burn(0.02)
    instruments.rest(0.02)
    assert instruments.seconds() - began >= 0.04
    assert instruments.counted_bytes() is None


def test_the_memory_of_a_block_is_seen(instruments, monkeypatch):
    monkeypatch.setattr(memory, "BLOCK_BYTES", 64 * MIB)
    (line,) = memory.lines(instruments)
    assert line.raw["block"] == 64 * MIB
    assert line.raw["grown"] >= 32 * MIB  # earlier tests may have left free memory
    assert "torch does not count" in line.seen


@pytest.mark.slow
def test_a_network_of_the_zoo_answers_its_images(instruments):
    loaded = instruments.load("mobilenetv3_s", timing.DEFAULT_BACKEND)
    assert loaded.call().shape == (1, 1000)
    line = timing.graph_answer("answer", loaded, instruments.load("mobilenetv3_s", "eager"))
    assert line.verdict == "PASS"


@pytest.mark.slow
def test_a_group_has_a_process_of_its_own_and_checks_resume(tmp_path):
    driver, chip = select("cpu")
    said = []
    means = real(driver, chip, tmp_path, said.append)
    (line,) = means.group("tf32")
    assert line.verdict == "NOT POSSIBLE"
    (line,) = means.group("no such group")
    assert line.failed
    assert "no such group" in line.why
    case = Case("mobilenetv3_s", "plain", "channels_last", device="cpu", threads=1)
    (first,) = means.checked([case])
    (second,) = means.checked([case])
    assert first.rounds == second.rounds != []
    assert means.recorded([case]) == [second]
    assert "checks: done" in said


@pytest.mark.slow
def test_a_process_that_cannot_compute_is_told():
    absent = types.SimpleNamespace(has_queue=True, torch_device="cuda")
    with pytest.raises(UnavailableError, match="cannot compute"), disturbed(absent):
        pass


def test_each_group_has_lines():
    assert set(measure.GROUPS) == {"tf32", "times", "sensors", "memory"}

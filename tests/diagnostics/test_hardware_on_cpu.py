"""The real instruments and runs of a first contact, with the CPU as the hardware."""

import subprocess
import sys
import types
from itertools import pairwise

import psutil
import pytest
import torch
from support.fake_cuda import Event
from support.fake_jtop import until
from support.paths import write_tree

from bench.analysis.profile import trace
from bench.devices import DEVICES, select
from bench.devices.host import allowed_cpus
from bench.diagnostics.hardware import instruments as instruments_of_torch
from bench.diagnostics.hardware import measure, runs, sensing, timing
from bench.diagnostics.hardware.disturb import disturbed
from bench.diagnostics.hardware.instruments import TorchInstruments
from bench.diagnostics.hardware.runs import real
from bench.errors import UnavailableError
from bench.harness.scheduler import profiler
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


MEMORY_OF_A_BLOCK = """
from bench.devices import DEVICES
from bench.diagnostics.hardware import memory
from bench.diagnostics.hardware.instruments import TorchInstruments
from bench.records import Case

memory.BLOCK_BYTES = 64 * 2**20
with DEVICES["cpu"].session(Case("", "", device="cpu", threads=1)) as session:
    (line,) = memory.lines(TorchInstruments(session))
print(line.raw["block"], line.raw["grown"], line.seen)
"""


def test_the_memory_of_a_block_is_seen():
    """In a process of its own: earlier tests leave free memory, which a block may take."""
    words = [sys.executable, "-c", MEMORY_OF_A_BLOCK]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    block, grown, seen = done.stdout.split(maxsplit=2)
    assert int(block) == 64 * MIB
    assert int(grown) >= 32 * MIB
    assert "torch does not count" in seen


@pytest.fixture
def on_gpu(monkeypatch):
    """The instruments of a simulated GPU; `Event.log` has what torch was asked for."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: Event.log.append("synchronised"))
    Event.log.clear()
    return TorchInstruments(types.SimpleNamespace(has_queue=True, torch_device="cpu"))


def called():
    """A call that takes 5 ms of the simulated GPU."""
    Event.log.append("called")
    Event.chip += 5.0


def test_the_bare_loop_of_a_gpu_has_one_event_before_and_one_after_all_calls(on_gpu):
    assert on_gpu.device_s(called, 4) == pytest.approx(0.005)
    assert Event.log == ["made"] * 2 + ["recorded", *["called"] * 4, "recorded", "waited"]


def test_the_bare_loop_of_the_host_waits_for_the_gpu_after_each_call(on_gpu):
    assert on_gpu.host_s(called, 8) > 0
    assert Event.log.count("called") >= 8
    after = [after for before, after in pairwise([*Event.log, "end"]) if before == "called"]
    assert {*after} == {"synchronised"}


def test_a_burn_waits_for_each_product_and_the_allocator_is_asked_for_its_peak(on_gpu, monkeypatch):
    monkeypatch.setattr(instruments_of_torch, "BURN_SIZE", 8)
    monkeypatch.setattr(torch, "mm", lambda *_: Event.log.append("called"))
    on_gpu.burn(0.01)
    assert Event.log
    assert Event.log == ["called", "synchronised"] * (len(Event.log) // 2)
    counted = {"allocated_bytes.all.peak": 700, "allocated_bytes.all.current": 300}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: counted)
    assert on_gpu.counted_bytes() == 700


TORCH = """
import time

class Matrix:
    def __matmul__(self, other):
        log("product")

def log(word):
    with open({log!r}, "a") as file:
        file.write(word + "\\n")
    time.sleep(0.001)

def ones(*size, device):
    log(device)
    return Matrix()

class cuda:
    def synchronize():
        log("waited")
"""


def test_the_second_process_computes_on_the_device_until_the_block_ends(tmp_path, monkeypatch):
    log = tmp_path / "log"
    write_tree(tmp_path, {"site/torch.py": TORCH.format(log=str(log))})
    monkeypatch.syspath_prepend(tmp_path / "site")
    driver = types.SimpleNamespace(has_queue=True, torch_device="the device")
    with disturbed(driver):
        assert until(lambda: log.read_text().count("product\n") >= 3)
    words = log.read_text().splitlines()
    assert words[:2] == ["the device", "waited"]
    assert words[2:6] == ["product", "waited"] * 2
    assert log.read_text().splitlines() == words  # the process has ended


def test_a_device_without_a_queue_is_disturbed_by_busy_processes():
    mine = psutil.Process()
    before = {*mine.children()}
    with disturbed(types.SimpleNamespace(has_queue=False)):
        busy = {*mine.children()} - before
        assert len(busy) == len(allowed_cpus())
    assert not busy & {*mine.children()}


def test_a_round_is_timed_anew_and_kept_for_its_part(tmp_path):
    driver, chip = select("fake")
    said = []
    means = real(driver, chip, tmp_path, said.append)
    case = Case("resnet50", "plain", device="fake")
    first, second = (means.timed("clean", case) for _ in range(2))
    disturbed_one = means.timed("disturbed", case)
    assert [len(each.rounds) for each in (first, second, disturbed_one)] == [1, 1, 1]
    assert first.rounds != second.rounds
    assert {path.parent.name for path in tmp_path.glob("*/results.jsonl")} == {
        "clean",
        "disturbed",
    }
    assert said.count("clean: 1 cases to measure") == 2


@pytest.mark.slow
def test_a_profile_keeps_its_traces(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "PROFILE_S", 0.3)
    monkeypatch.setattr(profiler, "PROFILE_ROUNDS", 1)
    driver, chip = select("cpu")
    case = Case("timm/test_resnet", "plain", resolution=32, device="cpu", threads=1)
    found = real(driver, chip, tmp_path, str).profiled(case)
    assert found.failure is None
    assert found.profile.waterfall.plain_s > 0
    traces = [*tmp_path.glob("traces/*.json")]
    assert len(traces) == len(found.rounds)
    assert all(trace.read(path.read_bytes()) for path in traces)


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

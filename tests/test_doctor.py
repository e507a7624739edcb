import json
import types

import pytest

from bench import doctor
from bench.doctor import Finding, examine
from bench.errors import UnavailableError
from bench.records import Chip


def by_subject():
    return {finding.about: finding for finding in examine()}


def test_says_what_is_here_and_what_is_not_and_always_exits_0(bench):
    done = bench("doctor", "--json")
    assert done.returncode == 0
    found = {finding["about"]: finding for finding in json.loads(done.stdout)}
    assert {"bench", "torch", "timm", "device cpu", "device fake", "backend eager"} <= set(found)
    assert found["device orin"]["level"] == "lack"
    assert "bench run --device orin" in found["device orin"]["remedy"]
    assert {"quota", "load", "memory", "other processes", "governor"} <= set(found)


def test_text_has_a_line_for_every_finding_and_the_remedy_below(bench):
    lines = bench("doctor").stdout.splitlines()
    assert any(line.startswith("ok    device cpu:") for line in lines)
    (at,) = [i for i, line in enumerate(lines) if line.startswith("lack  device orin:")]
    assert lines[at + 1].startswith("        On the board")


def test_needs_no_torch(bench):
    import subprocess
    import sys

    code = "import sys, bench.doctor; bench.doctor.examine(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_quota_below_the_cpus_is_noted(monkeypatch):
    monkeypatch.setattr(doctor, "cgroup_quota", lambda: 0.5)
    finding = by_subject()["quota"]
    assert finding.level == "note"
    assert "0.5 CPUs by cgroup quota" in finding.text


def test_a_busy_process_is_named(monkeypatch):
    def process(pid, name, percent):
        return types.SimpleNamespace(pid=pid, info={"name": name}, cpu_percent=lambda: percent)

    every = [process(-1, "hog", 93.0), process(-2, "idle", 0.1)]
    monkeypatch.setattr(doctor.psutil, "process_iter", lambda attributes: every)
    assert by_subject()["other processes"] == Finding(
        "note", "other processes", "hog (93 %)", "Stop them while you measure."
    )


def test_a_governor_that_follows_the_load_is_noted(monkeypatch):
    monkeypatch.setattr(doctor.DEVICES["cpu"], "state", lambda: {"governor": "powersave"})
    finding = by_subject()["governor"]
    assert (finding.level, "cpupower" in finding.remedy) == ("note", True)


def test_a_battery_that_drains_is_noted(monkeypatch):
    battery = types.SimpleNamespace(percent=41.0, power_plugged=False)
    monkeypatch.setattr(doctor.psutil, "sensors_battery", lambda: battery, raising=False)
    assert by_subject()["battery"].text == "41 %, not charging"


def test_a_package_that_is_missing_is_said_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED", ("no_such_package",))
    finding = by_subject()["no_such_package"]
    assert (finding.level, finding.remedy) == ("lack", "pip install no_such_package")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is here, in a state of the test's choosing, and on which torch computes."""
    chip = Chip(device="cuda", kind="gpu", name="Test GPU", threads=4, facts={"driver": "570"})
    state = {"temperature_c": 33.0, "foreign_processes": 0}
    device = doctor.DEVICES["cuda"]
    monkeypatch.setattr(device, "identify", lambda: chip)
    monkeypatch.setattr(device, "state", lambda: state)
    monkeypatch.setattr(doctor, "prove", lambda name: None)
    return state


def test_a_gpu_is_proven_and_its_state_told(gpu):
    found = by_subject()
    assert found["device cuda"].text == "Test GPU: driver 570"
    assert found["torch on cuda"].level == "ok"
    assert "temperature c 33" in found["state of cuda"].text
    assert found["backend cudagraph"].level == "ok"
    assert "GPU processes" not in found


def test_a_gpu_on_which_torch_cannot_compute_is_a_lack_with_the_remedy(gpu, monkeypatch):
    def prove(name):
        raise UnavailableError(f"torch cannot compute on {name}: no kernel image", "Install one.")

    monkeypatch.setattr(doctor, "prove", prove)
    finding = by_subject()["torch on cuda"]
    assert finding.level == "lack"
    assert "Test GPU: no kernel image" in finding.text
    assert finding.remedy == "Install one."


def test_others_on_the_gpu_and_clocks_that_follow_the_load_are_noted(gpu):
    gpu.update(foreign_processes=2, jetson_clocks="off")
    found = by_subject()
    assert found["GPU processes"].level == "note"
    assert found["GPU processes"].text == "2 are on the GPU"
    assert "sudo jetson_clocks" in found["jetson_clocks"].remedy

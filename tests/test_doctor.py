import json
import types

from bench import doctor
from bench.doctor import Finding, examine


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

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from functools import partial
from pathlib import Path

import psutil
import pytest
from support.jetson_trees import TREES
from support.paths import write_tree
from support.records import CHIP, measurement

from bench.backends import artifacts
from bench.devices.installation import how_to_install
from bench.devices.sensors.tegra import Board
from bench.diagnostics import doctor, leftovers
from bench.diagnostics.doctor import Finding, examine
from bench.diagnostics.hardware import machine
from bench.errors import UnavailableError, UsageError
from bench.harness.scheduler import template
from bench.records import Case, Chip
from bench.storage import lock
from bench.storage.results import Store

MARKED = template.marked_processes


def by_subject():
    return {finding.about: finding for finding in examine()}


def test_doctor_lists_what_works_and_what_is_missing_and_exits_with_0(bench):
    done = bench("doctor", "--json")
    assert done.returncode == 0
    found = {finding["about"]: finding for finding in json.loads(done.stdout)}
    assert {"bench", "torch", "timm", "device cpu", "device fake", "backend eager"} <= set(found)
    assert found["device orin"]["level"] == "lack"
    assert "bench run --device orin" in found["device orin"]["remedy"]
    assert {"quota", "load", "memory", "other processes", "governor"} <= set(found)


def test_text_has_a_line_for_each_finding_and_its_remedy_below(bench):
    lines = bench("doctor").stdout.splitlines()
    assert any(line.startswith("ok    device cpu:") for line in lines)
    (at,) = [i for i, line in enumerate(lines) if line.startswith("lack  device orin:")]
    assert lines[at + 1].startswith("        On the board")


def test_doctor_does_not_import_torch(bench):
    code = "import sys; from bench.diagnostics import doctor; doctor.examine(); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cpu_quota_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "cgroup_quota", lambda: 0.5)
    finding = by_subject()["quota"]
    assert finding.level == "note"
    assert "0.5 CPUs by cgroup quota" in finding.text


def test_a_busy_process_is_reported(monkeypatch):
    def process(pid, name, percent):
        return types.SimpleNamespace(pid=pid, info={"name": name}, cpu_percent=lambda: percent)

    every = [process(-1, "hog", 93.0), process(-2, "idle", 0.1)]
    monkeypatch.setattr(doctor.psutil, "process_iter", lambda attributes: every)
    assert by_subject()["other processes"] == Finding(
        "note", "other processes", "hog (93 %)", "Stop them while you measure."
    )


def test_a_governor_other_than_performance_is_reported(monkeypatch):
    monkeypatch.setattr(doctor.Host, "state", lambda self: {"governor": "powersave"})
    finding = by_subject()["governor"]
    assert (finding.level, "cpupower" in finding.remedy) == ("note", True)


def test_a_discharging_battery_is_reported(monkeypatch):
    battery = types.SimpleNamespace(percent=41.0, power_plugged=False)
    monkeypatch.setattr(doctor.psutil, "sensors_battery", lambda: battery, raising=False)
    assert by_subject()["battery"].text == "41 %, not charging"


def test_a_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(doctor, "REQUIRED_PACKAGES", ("no_such_package",))
    finding = by_subject()["no_such_package"]
    assert (finding.level, finding.remedy) == ("lack", "pip install no_such_package")


def test_on_a_jetson_imports_that_fail_are_reported_with_the_vendors_index(monkeypatch, tmp_path):
    root = write_tree(tmp_path, TREES["JetPack 6, AGX Orin"].files)
    monkeypatch.setattr(doctor, "Board", lambda: Board(root))
    monkeypatch.setattr(doctor, "how_to_install", partial(how_to_install, root=root))
    faults = {
        "torch": "pass",
        "numpy": "raise RuntimeError('Numpy is not available')",
        "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
        "timm": "import os; os.abort()",
    }
    monkeypatch.setattr(doctor, "TRIED_IMPORTS", faults)
    found = by_subject()
    assert "import torch" not in found
    assert found["import numpy"].remedy == (
        "This torch was built on NumPy 1: pip install --no-deps 'numpy<2'"
    )
    assert "torchvision::nms" in found["import torchvision"].text
    assert "jp6/cu126 torchvision" in found["import torchvision"].remedy
    assert found["import timm"].text == "exit code -6"
    assert found["import timm"].remedy.endswith(" && pip install --no-deps timm")
    faults["torch"] = "import no_such_torch"
    found = by_subject()
    assert "jp6/cu126 torch" in found["import torch"].remedy
    assert not {"import numpy", "import torchvision", "import timm"} & found.keys()


def test_each_required_package_is_imported_torch_first():
    first, *others = doctor.TRIED_IMPORTS
    assert first == "torch"
    assert {*doctor.REQUIRED_PACKAGES} <= {first, *others}
    assert all(name in code for name, code in doctor.TRIED_IMPORTS.items())


def test_another_machine_imports_nothing(monkeypatch):
    monkeypatch.setattr(doctor, "TRIED_IMPORTS", {"torch": "raise RuntimeError"})
    assert "import torch" not in by_subject()


@pytest.fixture
def gpu(monkeypatch):
    """A simulated GPU on which torch works; the test may change the returned state."""
    chip = Chip(device="cuda", kind="gpu", name="Test GPU", threads=4, facts={"driver": "570"})
    state = {"temperature_c": 33.0, "foreign_processes": 0}
    driver = doctor.DEVICES["cuda"]
    monkeypatch.setattr(driver, "identify", lambda: chip)
    monkeypatch.setattr(driver, "state", lambda: state)
    monkeypatch.setattr(driver, "prove", lambda chip: None)
    return state


def test_a_gpu_is_tested_and_its_state_reported(gpu):
    found = by_subject()
    assert found["device cuda"].text == "Test GPU: driver 570"
    assert found["torch on cuda"].level == "ok"
    assert "temperature c 33" in found["state of cuda"].text
    assert found["backend cudagraph"].level == "ok"
    assert "GPU processes" not in found


def test_a_gpu_on_which_torch_cannot_compute_is_reported_with_the_remedy(gpu, monkeypatch):
    def prove(chip):
        message = f"torch cannot compute on {chip.name}: no kernel image"
        raise UnavailableError(message, "Install one.")

    monkeypatch.setattr(doctor.DEVICES["cuda"], "prove", prove)
    finding = by_subject()["torch on cuda"]
    assert finding.level == "lack"
    assert "Test GPU: no kernel image" in finding.text
    assert finding.remedy == "Install one."


def test_a_variable_that_switches_tf32_on_is_named(gpu, monkeypatch):
    assert "fp32 on cuda" not in by_subject()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    found = by_subject()
    assert found["fp32 on cuda"].level == "lack"
    assert "run `unset NVIDIA_TF32_OVERRIDE`" in found["fp32 on cuda"].text
    assert machine.doctor([found["fp32 on cuda"]], "cuda").failed
    assert not machine.doctor([found["fp32 on cuda"]], "cpu").failed


def test_other_processes_on_the_gpu_and_variable_clocks_are_reported(gpu):
    gpu.update(
        foreign_processes=2,
        jetson_clocks="off",
        compute_mode="exclusive_process",
        persistence="off",
    )
    found = by_subject()
    assert found["GPU processes"].level == "note"
    assert "one process at a time" in found["compute mode"].text
    assert "nvidia-smi -pm 1" in found["persistence mode"].remedy
    gpu.update(compute_mode="prohibited")
    assert by_subject()["compute mode"].level == "lack"
    assert found["GPU processes"].text == "2 of other programs"
    assert "sudo jetson_clocks" in found["jetson_clocks"].remedy


LONG_AGO = time.time() - 3600


@pytest.fixture
def out(tmp_path, monkeypatch):
    """A folder of complete results; the temporary folder is also below `tmp_path`."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    results = Store(tmp_path / "out" / "chip")
    results.open()
    with contextlib.closing(results):
        results.append(measurement(Case("resnet50", "plain")))
    return tmp_path / "out"


def old(path, content=b""):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """Hide the processes of other runs on this machine."""
    monkeypatch.setattr(template, "marked_processes", lambda start="": iter(()))


def told(out, *, fix=False):
    return {f"{each.about}: {each.text}" for each in leftovers.examine(out, fix=fix)}


@pytest.mark.usefixtures("cache")
def test_doctor_says_that_there_are_no_leftovers(out):
    assert told(out) == {"locks: no lock is held: no run is measuring", "leftovers: none"}


def test_a_device_that_cannot_be_read_is_named(out):
    (out / "lost").symlink_to("away")
    said = f"results: cannot read {out / 'lost'}: it is a link to a folder that does not exist"
    assert said in told(out)


def test_an_incomplete_line_is_reported_and_with_fix_set_aside(bench, out):
    path = out / "chip" / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type"')
    said = bench("doctor", "--out", "out").stdout
    assert "out/chip/results.jsonl ends in 7 bytes that are not a complete line" in said
    assert "bench doctor --fix --out out" in said
    assert path.read_bytes() != whole
    mended = f"fixed: {path} ended in a torn line of 7 bytes: set aside in results.jsonl.torn"
    assert mended in told(out, fix=True)
    assert path.read_bytes() == whole
    assert path.with_name("results.jsonl.torn").read_bytes() == b'{"type"\n'
    assert "leftovers: none" in told(out)


@pytest.mark.parametrize("fix", [True, False])
def test_a_pipe_in_place_of_results_is_reported_and_not_changed(out, fix):
    path = out / "pipe" / "results.jsonl"
    path.parent.mkdir()
    os.mkfifo(path)
    assert any("it is no regular file" in line for line in told(out, fix=fix))
    assert path.is_fifo()


def test_by_default_reports_results_and_selfcheck_folders_are_examined(bench, tmp_path):
    for folder in ("reports/chip", "results/chip/selfcheck/pool"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "results.jsonl").write_bytes(b"torn")
    (tmp_path / "results" / "chip" / "results.jsonl").write_bytes(b"")
    said = bench("doctor", "--json").stdout
    found = [each for each in json.loads(said) if each["text"].endswith("not a complete line")]
    assert len(found) == 2
    assert {each["remedy"] for each in found} == {"bench doctor --fix"}


def test_a_missing_folder_gives_exit_code_2(bench):
    done = bench("doctor", "--out", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")


def test_unfinished_pages_are_removed_unless_they_are_recent(out):
    mine = [old(out / "chip" / ".table6.md.partial"), old(out / ".report.html.partial")]
    mine.append(old(out / "chip" / "traces" / ".a-1.json.partial"))
    fresh = out / "chip" / ".results.md.partial"
    fresh.write_bytes(b"")
    others = [old(out / "chip" / "table6.md"), old(out / "chip" / "x.partial")]
    assert len([line for line in told(out) if "is an unfinished page" in line]) == 3
    told(out, fix=True)
    assert not [path for path in mine if path.exists()]
    assert all(path.exists() for path in (fresh, *others))


def test_a_folder_without_results_is_not_changed(tmp_path):
    page = old(tmp_path / ".somebody.partial")
    assert "leftovers: none" in told(tmp_path, fix=True)
    assert page.exists()


def test_locked_files_are_reported_and_not_changed(out):
    results = Store(out / "chip")
    results.open()
    with contextlib.closing(results), lock.device(CHIP):
        with results.path.open("ab") as file:
            file.write(b"half")
        page = old(out / "chip" / ".table6.md.partial")
        said = told(out, fix=True)
        mine = f"lock: process {os.getpid()} ("
        assert len([line for line in said if line.startswith(mine)]) == 2
        assert any("bench-test-chip-9000.lock" in line for line in said)
        assert "leftovers: none" in said
        assert results.path.read_bytes().endswith(b"half")
        assert page.exists()


def test_a_run_that_starts_before_the_fix_keeps_its_file(out, monkeypatch):
    """The run takes the lock after the leftover is found and before it is fixed."""
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    path = out / "chip" / "results.jsonl"
    path.write_bytes(path.read_bytes() + b"half")
    (found,) = leftovers._files(out, [path])
    with path.open("ab") as file:
        lock.acquire(file, "writing")
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            found.fix()
    assert path.read_bytes().endswith(b"half")


def test_scratch_folders_of_killed_processes_are_removed(out):
    code = (
        "import os; from bench.storage import lock\nwith lock.scratch() as f: print(f); os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-uc", code], capture_output=True, text=True, check=False
    )
    stale = Path(done.stdout.strip())
    (stale / "trace.json").write_text("large")
    os.utime(stale, (LONG_AGO, LONG_AGO))
    with lock.scratch() as alive:
        os.utime(alive, (LONG_AGO, LONG_AGO))
        assert f"leftover: {stale} belongs to a process that has ended" in told(out)
        assert f"fixed: removed {stale}" in told(out, fix=True)
        with pytest.raises(BlockingIOError):
            lock.remove_scratch(alive)
        assert alive.exists()
    assert not stale.exists()
    assert not alive.exists()


def below(run, count):
    """Return the processes below `run` once there are `count` of them and they stay the same."""
    deadline = time.monotonic() + 60
    last, now = None, set(template.marked_processes())
    while len(now) != count or now != last:
        assert time.monotonic() < deadline, now
        time.sleep(0.5)
        last, now = now, set(template.marked_processes())
    return now


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_processes_of_a_killed_run_are_ended_and_those_of_a_living_run_are_not(
    out, tmp_path, monkeypatch
):
    """The network starts three processes; two of them are no longer children of the run."""
    (tmp_path / "slow.toml").write_text('models = ["fault/litter"]\nbatch = [1]\npace_s = 2\n')
    words = ["run", "--suite", "slow.toml", "--device", "fake", "--out", "out"]
    run = subprocess.Popen([sys.executable, "-m", "bench", *words], cwd=tmp_path)
    monkeypatch.setattr(template, "marked_processes", lambda start="": MARKED(f"{run.pid}-"))
    try:
        measuring = below(run, 5)
        alive = told(out, fix=True)
        assert not [line for line in alive if "a run that has ended" in line]
        assert not any(has_ended(process) for process in measuring)
        run.kill()
        time.sleep(1)
        left = list(template.marked_processes())
        assert left
        said = told(out)  # the run is a zombie now, as is common in containers
        assert all(any(f"process {p.pid} (" in line for line in said) for p in left)
        assert not any(has_ended(process) for process in left)
    finally:
        run.kill()
        run.wait()
    assert {f"fixed: killed process {process.pid}" for process in left} <= told(out, fix=True)
    assert all(has_ended(process) for process in left)


def test_allocators_are_listed_with_what_the_shell_brings(monkeypatch):
    lacking = {"tcmalloc": ("its library is not installed", "")}
    monkeypatch.setattr(doctor.allocators, "missing", lacking.get)
    finding = by_subject()["allocators"]
    assert finding.text.startswith("default, arena, jemalloc; not installed: tcmalloc (libtcm")
    assert finding.text.endswith("bench run --allocator default,arena")
    brought = ("libtcmalloc.so.4 replaces malloc", "Unset LD_PRELOAD.")
    monkeypatch.setattr(doctor.allocators, "brought", lambda name: brought)
    assert by_subject()["malloc"] == doctor.Finding("note", "malloc", *brought)


def test_exported_networks_are_counted_and_the_unused_ones_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not [each for each in leftovers.examine(tmp_path, fix=True) if "export" in each.text]
    used, unused, killed = (
        artifacts.store(key, lambda path: path.write_bytes(b"net")) for key in "abc"
    )
    partial = artifacts.folder() / f"d{artifacts.PARTIAL}"
    (artifacts.folder() / killed.name).rename(partial)
    for path in (partial, artifacts.folder() / unused.name):
        os.utime(path, (1, 1))
    found = {each.about: each for each in leftovers.examine(tmp_path, fix=False)}
    assert found["exported networks"].text.startswith("0.0 of at most 16 GiB")
    assert "is an unfinished export" in found["leftover"].text
    fixed = [each.text for each in leftovers.examine(tmp_path, fix=True)]
    assert "removed 2 exported networks, 0.0 GiB" in fixed
    assert [path.name for path in artifacts.files()] == [used.name]

"""A system without /proc and /sys: values are missing with a reason, and every command works."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.devices import DEVICES
from bench.devices.host import Host
from bench.harness.scheduler.template import MARK, marked_processes
from bench.harness.worker import template
from bench.storage import lock

HIDDEN = "mount -t tmpfs none /proc && mount -t tmpfs none /sys"


@pytest.fixture(params=["absent", "empty"])
def hide(request, tmp_path, monkeypatch):
    """Return a function that hides /proc and /sys from psutil, and the load average from Python."""
    hidden = tmp_path / "proc"
    if request.param == "empty":
        hidden.mkdir()

    def unobtainable():
        raise OSError("Load averages are unobtainable")

    def hide():
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(hidden))
        monkeypatch.setattr("psutil._pslinux.POWER_SUPPLY_PATH", str(hidden))
        monkeypatch.setattr(os, "getloadavg", unobtainable)

    return hide


@pytest.fixture
def no_proc(hide):
    hide()


def test_the_machine_is_described_without_proc(no_proc):
    driver = DEVICES["cpu"]
    assert driver.identify().facts["memory_gib"] is None
    assert driver.state()["load_1min"] is None
    assert driver.free_bytes() is None


def test_the_doctor_names_what_it_cannot_read(no_proc, bench):
    done = bench("doctor")
    assert done.returncode == 0
    for about in ("other processes", "load", "memory"):
        assert f"note  {about}: cannot be read: this system has no /proc" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc to hide")
def test_a_process_is_found_and_described_until_proc_is_hidden(hide):
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "no-proc"}) as process:
        try:
            assert [each.pid for each in marked_processes("no-proc")] == [process.pid]
            assert lock.describe_process(process.pid) == f"process {process.pid} (sleep 60)"
            hide()
            assert list(marked_processes("no-proc")) == []
            assert lock.describe_process(process.pid) == f"process {process.pid}"
            template._kill_leftovers(set())
            assert process.poll() is None
        finally:
            process.kill()


def test_what_the_kernel_does_not_tell_is_missing_with_a_reason(tmp_path):
    seen = Host(tmp_path).sense()
    assert (seen.busy_cpu_s, seen.clock_hz, seen.thread_s) == (None, None, {})
    assert {"busy_cpu_s", "stolen_cpu_s", "clock_hz", "thread_s"} <= set(seen.missing)


@pytest.mark.slow
@pytest.mark.usefixtures("without_timm")
def test_a_network_is_measured_without_proc_and_sys(tmp_path):
    if subprocess.run(["unshare", "-m", "sh", "-c", HIDDEN], check=False).returncode:
        pytest.skip("needs root, to hide /proc and /sys")
    Path(tmp_path, "net.py").write_text(
        "from torch import nn\n\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 9))\n"
    )
    bench = f"{sys.executable} -m bench"
    run = f"{bench} run --models net.py:net --batch 1 --resolution 32 --rounds 1 --preset quick"
    command = f"{HIDDEN} && {run} --out out && {bench} report out && {bench} doctor --out out"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the CPU time of other processes could not be read: no /proc/stat" in done.stdout

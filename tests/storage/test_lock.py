"""Locks: a second run is refused or waits, for any user; a killed run leaves no lock behind."""

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from support.paths import TESTS
from support.records import CHIP, FAKE_CHIP, measurement
from support.sweep import wait_until

from bench.devices import DEVICES
from bench.errors import UsageError
from bench.records import Case
from bench.storage import lock
from bench.storage.results import Store

NOBODY = 65534

# A process that holds both locks of a run, with a template, a child and a shell below it.
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from support.records import CHIP
from bench.storage import lock
from bench.harness.protocol.messages import Job
from bench.harness.plan import PRESETS
from bench.records import Case
from bench.storage.results import Store
from bench.harness.scheduler.template import Template

results = Store(Path("chip"))
results.open()
with lock.device(CHIP), Template("fake") as template:
    template.fork(Job(Case("fault/hang", "plain", device="fake"), 1, PRESETS["quick"], None))
    words = ["sh", "-c", "sleep 600 & wait"]
    subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
    time.sleep(1)
    print("ready", flush=True)
    time.sleep(600)
"""

OTHER_USER = f"""
import os
from bench.storage import lock
from support.records import CHIP

lock.WAIT_S = 0.2
"".encode("unicode_escape")  # import the codec now: its file may not be readable as the other user
os.setgid({NOBODY})
os.setuid({NOBODY})
with lock.device(CHIP):
    print("alone")
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Locks in a folder of this test, apart from runs on this machine."""
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))
    return folder


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(lock, "WAIT_S", 0.2)


def test_second_run_on_a_device_is_refused_and_names_the_holder(hasty):
    with lock.device(CHIP):
        with pytest.raises(UsageError) as raised, lock.device(CHIP):
            pass
        mine = f"another run is measuring on test-chip-9000: process {os.getpid()} ("
        assert raised.value.message.startswith(mine)
        assert psutil.Process().cmdline()[0] in raised.value.message
        assert "--wait" in raised.value.remedy
    with lock.device(CHIP):
        pass


def test_other_devices_are_free_and_shared_devices_have_no_lock(own_locks):
    other = msgspec.structs.replace(CHIP, name="other")
    shared = [lock.device(FAKE_CHIP, is_shared=True) for _ in range(2)]
    with lock.device(CHIP), lock.device(other), shared[0], shared[1]:
        names = {path.name for path in own_locks.iterdir()}
    assert names == {"bench-test-chip-9000.lock", "bench-other.lock"}


def test_waiting_run_names_the_holder_once_then_continues(hasty):
    said = []
    first = contextlib.ExitStack()
    first.enter_context(lock.device(CHIP))
    threading.Timer(1.0, first.close).start()
    began = time.monotonic()
    with lock.device(CHIP, said.append):
        assert time.monotonic() - began > 0.5
    (line,) = said
    assert line.startswith("waiting: another run is measuring on test-chip-9000: process")


def test_command_is_shown_on_one_truncated_line():
    words = [sys.executable, "-c", "import time; time.sleep(60)", "\n\x1b[2J", "x" * 999]
    with subprocess.Popen(words) as process:
        try:
            wait_until(psutil.Process(process.pid).cmdline)  # empty for a moment after the start
            shown = lock.describe_process(process.pid)
        finally:
            process.kill()
    assert shown.startswith(f"process {process.pid} (")
    assert shown.isprintable()
    assert len(shown) < 150


def test_locks_of_a_killed_run_are_freed_despite_its_children(tmp_path, own_locks, hasty):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    below = []
    try:
        assert holder.stdout.readline() == "ready\n"
        below = psutil.Process(holder.pid).children(recursive=True)
        assert len(below) == 4  # the template and its child, the shell and what it started
        files = {str(tmp_path / "chip" / "results.jsonl"), str(lock.device_file(CHIP.slug))}
        assert files <= open_files(holder.pid)
        for process in below:
            assert not files & open_files(process.pid)
        with pytest.raises(UsageError, match=f"process {holder.pid} "), lock.device(CHIP):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        sleeping = [process for process in below if process.is_running() and is_sleep(process)]
        assert len(sleeping) == 2
        with lock.device(CHIP):
            results = Store(tmp_path / "chip")
            results.open()
            results.close()
        assert all(process.is_running() for process in sleeping)
    finally:
        holder.kill()
        holder.communicate()
        for process in below:
            with contextlib.suppress(psutil.Error):
                process.kill()


def open_files(pid):
    return {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}


def is_sleep(process):
    return process.name() in ("sh", "sleep", "dash", "bash")


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_lock_file_is_readable_by_all_and_writable_by_none(own_locks, umask):
    before = os.umask(umask)
    try:
        with lock.device(CHIP):
            mode = lock.device_file(CHIP.slug).stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o444


def test_another_user_is_refused_by_the_same_lock(own_locks, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("needs root, to be two users")
    everybodys = Path(tempfile.mkdtemp(dir="/tmp"))
    everybodys.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(everybodys))
    words = [sys.executable, "-c", OTHER_USER]
    setting = {"env": {**os.environ, "TMPDIR": str(everybodys)}, "cwd": "/", "text": True}
    try:
        first = subprocess.run(words, check=False, capture_output=True, **setting)
        assert first.stdout == "alone\n", first.stderr
        assert lock.device_file(CHIP.slug).stat().st_uid == NOBODY
        with lock.device(CHIP):  # a lock file made by another user can be locked, too
            second = subprocess.run(words, check=False, capture_output=True, **setting)
        assert second.stdout == ""
        assert f"process {os.getpid()}" in second.stderr
    finally:
        shutil.rmtree(everybodys)


def test_lock_file_keeps_its_place_when_the_disk_is_full(own_locks, hasty, monkeypatch):
    """`tempfile` would choose another folder, where no lock is held."""

    def full(*_, **__):
        raise FileNotFoundError("No usable temporary directory found")

    with lock.device(CHIP):
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_get_default_tempdir", full)
        with pytest.raises(UsageError, match="another run is measuring"), lock.device(CHIP):
            pass


def test_waiting_run_locks_anew_if_the_lock_file_was_removed(own_locks, hasty):
    """The waiting run gets the lock of a removed file, while another run locks a new file."""
    entered = threading.Event()
    told = []

    def remove(text):
        told.append(text)
        lock.device_file(CHIP.slug).unlink()

    def wait():
        with lock.device(CHIP, remove), pytest.raises(UsageError), lock.device(CHIP):
            pass
        entered.set()

    waiting = threading.Thread(target=wait)
    with lock.device(CHIP):
        waiting.start()
        while not told:
            time.sleep(0.01)
    waiting.join(10)
    assert entered.is_set()


def test_lock_with_unknown_holder_counts_as_held(own_locks):
    path = lock.device_file(CHIP.slug)
    with lock.device(CHIP):
        assert lock.is_held(path)
    assert not lock.is_held(path)
    with lock.device(CHIP):
        pass


def link(path):
    target = path.parent / "target"
    target.write_text("not ours")
    path.symlink_to(target)


def dangling(path):
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("make", [link, dangling, os.mkfifo, os.mkdir])
def test_lock_path_that_is_no_regular_file_is_refused(own_locks, make):
    make(lock.device_file(CHIP.slug))
    before = sorted(own_locks.iterdir())
    with pytest.raises(UsageError, match="cannot lock") as raised, lock.device(CHIP):
        pass
    assert "TMPDIR" in raised.value.remedy
    assert sorted(own_locks.iterdir()) == before


def test_refused_run_creates_no_files(bench, tmp_path, hasty):
    before = sorted(tmp_path.rglob("*"))
    with lock.device(DEVICES["cpu"].identify()):
        for command in ("run", "profile"):
            words = ("--device", "cpu", "--models", "resnet50", "--batch", "1", "--out", "out")
            done = bench(command, *words)
            assert done.returncode == 2
            assert f": process {os.getpid()} (" in done.stderr
            assert "--wait" in done.stderr
        done = bench("selfcheck", "--out", "out")
        assert done.returncode == 2
        assert f": process {os.getpid()} (" in done.stderr
    after = [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock"]
    assert after == before


def test_run_waits_for_a_locked_results_file_and_reports_once(tmp_path):
    results = Store(tmp_path / "out" / "fake")
    results.open()
    words = ["run", "--device", "fake", "--models", "resnet50", "--batch", "1", "--rounds", "1"]
    with contextlib.closing(results):
        run = subprocess.Popen(
            [sys.executable, "-m", "bench", *words, "--out", "out", "--wait"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        first = run.stdout.readline()
        assert re.match(r"waiting: another run is writing to out/fake/results.jsonl: proc", first)
        time.sleep(0.5)
    rest, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "waiting" not in rest
    assert len(results.path.read_bytes().splitlines()) == 2


def test_reading_commands_need_no_lock(bench, tmp_path):
    results = Store(tmp_path / "out" / "chip")
    results.open()
    with contextlib.closing(results), lock.device(DEVICES["cpu"].identify()):
        results.append(measurement(Case("resnet50", "plain")))
        results.append(measurement(Case("swin_t", "plain")))
        for words in (
            ["report", "out"],
            ["compare", "resnet50", "swin_t", "--in", "out"],
            ["list", "devices"],
            ["run", "--device", "fake", "--models", "resnet50", "--dry-run"],
        ):
            done = bench(*words)
            assert done.returncode == 0, done.stderr
        assert f"process {os.getpid()} (" in bench("doctor", "--out", "out").stdout


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path, own_locks, monkeypatch, number):
    def unsupported(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    results = Store(tmp_path / "chip")
    for locked in (lock.device(CHIP), contextlib.closing(results), lock.scratch()):
        with pytest.raises(UsageError, match="the file system has no locks") as raised, locked:
            results.open()
        assert "TMPDIR" in raised.value.remedy
    with pytest.raises(UsageError, match="the file system has no locks"):
        results.let_others_end()

"""Full disks, and files that cannot be written, are removed or are replaced during a run."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from support.sweep import Sweep

CUTS = 12  # file sizes at which the disk is full
PR_CAPBSET_DROP = 24
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: without them, modes bind root too

SMALL_DISK = """
set -e
mkdir -p out
mount -t tmpfs -o size=20k none out
code=0; "$@" > first 2>&1 || code=$?
cp out/fake/results.jsonl first.jsonl
test "$code" = 2
mount -o remount,size=16m out
"$@" > second 2>&1
cp out/fake/results.jsonl second.jsonl
"""


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def bound_by_modes():
    for capability in OVERRIDES:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def fill_up(sweep, size):
    """Run until the file has reached `size` bytes; return the bytes on the disk."""
    assert sweep.start(preexec_fn=limit_files(size)).wait(60) == 2
    said = sweep.said()
    assert "Traceback" not in said
    assert "results.jsonl: File too large" in said
    assert "Make room" in said
    sweep.assert_nothing_runs()
    data = sweep.data()
    assert len(data) <= size
    assert data.endswith(b"\n") or not data
    return data


def full_disks(folder, cuts):
    """Fill the disk at `cuts` sizes of the file of results; then make room and resume."""
    alone = Sweep(folder / "alone")
    assert alone.finish() == 0, alone.said()
    size = len(alone.data())
    for number in range(cuts):
        sweep = Sweep(folder / f"{number}")
        before = fill_up(sweep, size * (number + 1) // (cuts + 1))
        assert sweep.finish() == 0, sweep.said()
        assert sweep.data().startswith(before)
        assert sorted(sweep.ends()) == sorted(alone.ends())
        assert not sweep.path.with_name("results.jsonl.torn").exists()


def test_a_full_disk_loses_no_finished_round(tmp_path):
    full_disks(tmp_path, 1)


@pytest.mark.faults
def test_a_disk_full_at_any_size_loses_no_finished_round(tmp_path):
    full_disks(tmp_path, CUTS)


def test_a_run_resumes_after_a_full_disk_is_made_larger(tmp_path):
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", tmp_path], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot make a small disk: mounting in a new namespace is not allowed")
    sweep = Sweep(tmp_path)
    command = [sys.executable, "-m", "bench", *sweep.arguments]
    script = [*unshare, "sh", "-c", SMALL_DISK, "sh", *command]
    done = subprocess.run(script, cwd=tmp_path, check=False, timeout=120)
    first, second = (tmp_path / name for name in ("first", "second"))
    assert "No space left on device" in first.read_text()
    assert done.returncode == 0, second.read_text()
    before, after = (tmp_path / f"{name}.jsonl" for name in ("first", "second"))
    assert 0 < len(before.read_bytes()) <= 20480
    assert before.read_bytes().endswith(b"\n")
    assert after.read_bytes().startswith(before.read_bytes())
    assert after.read_bytes().count(b'"measurement"') == 12


@pytest.mark.parametrize("what", ["folder", "file", "out"])
def test_a_path_without_write_permission_is_refused_before_anything_runs(tmp_path, what):
    sweep = Sweep(tmp_path)
    sweep.path.parent.mkdir(parents=True)
    if what == "file":
        sweep.path.write_bytes(b"")
    path = {"folder": sweep.path.parent, "file": sweep.path, "out": tmp_path / "out"}[what]
    if what == "out":
        sweep.path.parent.rmdir()
    path.chmod(0o444 if what == "file" else 0o555)
    before = sorted(tmp_path.rglob("*"))
    try:
        assert sweep.start(preexec_fn=bound_by_modes).wait(60) == 2
    finally:
        path.chmod(0o755)
    assert "results.jsonl: Permission denied" in sweep.said()
    assert "--out" in sweep.said()
    assert sorted({*tmp_path.rglob("*")} - {tmp_path / "said"}) == before


@pytest.mark.parametrize("fate", ["removed", "replaced", "moved with its folder"])
def test_a_removed_file_ends_the_run_which_resumes_when_it_is_back(tmp_path, fate):
    sweep = Sweep(tmp_path)
    run = sweep.start()
    sweep.wait_for_rounds(3, run)
    folder, kept = sweep.path.parent, tmp_path / "kept.jsonl"
    os.kill(run.pid, signal.SIGSTOP)
    os.link(sweep.path, kept)
    if fate == "removed":
        sweep.path.unlink()
    elif fate == "replaced":  # as an editor does when it saves
        shutil.copy(kept, tmp_path / "copy")
        os.replace(tmp_path / "copy", sweep.path)
    else:
        folder.rename(tmp_path / "elsewhere")
    whole = kept.read_bytes()
    os.kill(run.pid, signal.SIGCONT)
    assert run.wait(60) == 2
    said = sweep.said()
    assert f"was {'replaced' if fate == 'replaced' else 'removed'} while this run" in said
    assert "Put that file back" in said
    assert "Traceback" not in said
    sweep.assert_nothing_runs()
    assert kept.read_bytes() == whole
    folder.mkdir(exist_ok=True)
    os.replace(kept, sweep.path)
    assert sweep.finish() == 0, sweep.said()
    assert sweep.data().startswith(whole)
    assert len(set(sweep.ends())) == len(sweep.ends()) == 12

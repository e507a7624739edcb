"""A run in a cgroup with too little memory, as in a container: the kernel kills a process."""

import contextlib
import json
import os
import secrets
from pathlib import Path

import pytest
from support.sweep import Sweep, wait_until

MOUNTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
LIMIT = str(2**29)
LIMITS = {"memory.max": LIMIT, "memory.swap.max": "0"}  # of version 2
LIMITS |= {"memory.limit_in_bytes": LIMIT, "memory.swappiness": "0"}  # and 1
SUITE = """
models = ["resnet50", "fault/eat", "swin_t"]
batch = [1]
rounds = 2
pace_s = 0.01
"""


@contextlib.contextmanager
def memory_group():
    """Make a cgroup next to the one of this process; skip the test if that is not allowed."""
    name = f"bench-test-{secrets.token_hex(4)}"
    group = next((made for parent in parents() if (made := limited(parent / name))), None)
    if group is None:
        pytest.skip("cannot make a cgroup with a memory limit")
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), 10)
        group.rmdir()


def limited(group):
    """Make a cgroup with the memory limit LIMIT; return None if that is not possible."""
    try:
        group.mkdir()
    except OSError:
        return None
    for name, value in LIMITS.items():
        with contextlib.suppress(OSError):
            (group / name).write_text(value)
    if any((group / n).exists() and (group / n).read_text().strip() == LIMIT for n in LIMITS):
        return group
    group.rmdir()
    return None


def parents():
    """Yield the mounted cgroups that may hold a new group with a memory limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            for mount in MOUNTS:
                group = mount / path.strip("/")
                if (group / "cgroup.procs").exists():
                    yield group if group == mount else group.parent


def test_a_network_killed_for_its_memory_is_a_failure_and_the_run_continues(tmp_path):
    sweep = Sweep(tmp_path, "--suite", "full.toml", "--device", "fake")
    (tmp_path / "full.toml").write_text(SUITE)
    with memory_group() as group:

        def enter():
            (group / "cgroup.procs").write_text(str(os.getpid()))

        assert sweep.start(preexec_fn=enter).wait(120) == 1, sweep.said()
        assert sorted((model_of(r), r["round"]) for r in sweep.rounds()) == [
            (model, number) for model in ("resnet50", "swin_t") for number in (1, 2)
        ]
        (failed,) = [
            r for r in map(json.loads, sweep.data().splitlines()) if r["type"] == "failure"
        ]
        assert (model_of(failed), failed["stage"]) == ("fault/eat", "build")
        assert "SIGKILL" in failed["message"]
        assert "failed: build" in sweep.said()
        sweep.assert_nothing_runs()


def model_of(record):
    return record["case"]["model"]

"""A run that goes on and on: its parent needs no more memory, files or processes in the end."""

import statistics
import subprocess
import time
from typing import NamedTuple

import psutil
import pytest
from support.sweep import Sweep

from bench.models.zoo import ZOO

MIB = 2**20
GROWTH_MIB = 5.0  # over the second half
A_FEW = 8  # files or processes that a moment may catch in passing; a leak has dozens
LOOK_S = 0.2
PARTS = 10
MODELS = 20
ROUNDS = 100
CPU_S = 900.0
CPU_CASES = 100  # more than there is time for
SUITE = """
models = ["{models}"]
batch = [128]
rounds = {rounds}
"""
FAKE = ["--suite", "long.toml", "--device", "fake"]
RESOLUTIONS = ",".join(str(32 + 2 * number) for number in range(CPU_CASES))
CPU = ["--device", "cpu", "--models", "timm/test_resnet.r160_in1k", "--resolution", RESOLUTIONS]
CPU += ["--batch", "1", "--threads", "1", "--preset", "quick"]


class Seen(NamedTuple):
    """Of the parent at one moment, seen from outside; processes are all below it, too."""

    memory_mib: float
    files: int
    processes: int


def watch(run: subprocess.Popen, seconds: float) -> list[Seen]:
    """Look at a run until it ends, or for so long."""
    parent, seen = psutil.Process(run.pid), []
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline:
        try:
            memory = parent.memory_full_info().uss / MIB
            below = len(parent.children(recursive=True))
            seen.append(Seen(memory, parent.num_fds(), below))
        except psutil.Error:  # it has just ended
            break
        time.sleep(LOOK_S)
    return seen


def assert_no_growth(seen: list[Seen]) -> None:
    """Parts of the second half against its first; the run's end is not among them."""
    size = len(seen) // PARTS
    parts = [seen[size * number : size * (number + 1)] for number in range(PARTS)]
    memory = [statistics.median(each.memory_mib for each in part) for part in parts]
    files = [max(each.files for each in part) for part in parts]
    processes = [max(each.processes for each in part) for part in parts]
    rounded = [round(each, 2) for each in memory]
    print(f"\n{len(seen)} looks, MiB {rounded}, {files=}, {processes=}")
    half = PARTS // 2
    assert memory[-1] - memory[half] < GROWTH_MIB
    assert max(files[half:]) <= max(files[:half]) + A_FEW
    assert max(processes[half:]) <= max(processes[:half]) + A_FEW


def soak_fake(folder, models: int, rounds: int) -> None:
    """Short rounds of many cases: what grows by the record shows."""
    sweep = Sweep(folder, *FAKE)
    of_one_form = [name for name, network in ZOO.items() if len(network.forms) == 1]
    names = '", "'.join(of_one_form[:models])
    (folder / "long.toml").write_text(SUITE.format(models=names, rounds=rounds))
    run = sweep.start()
    seen = watch(run, 3600.0)
    assert run.wait() == 0, sweep.said()
    assert len(sweep.ends()) == models * rounds
    assert_no_growth(seen)
    sweep.assert_nothing_runs()


def soak_cpu(folder, seconds: float) -> None:
    """A sweep of small cases: what grows by the process, or by the sample, shows."""
    sweep = Sweep(folder, *CPU)
    run = sweep.start()
    seen = watch(run, seconds)
    rounds = len(sweep.ends())
    run.terminate()
    assert run.wait(60) == 130, sweep.said()
    assert rounds >= seconds / 60
    print(f"\n{rounds} rounds")
    assert_no_growth(seen)
    sweep.assert_nothing_runs()


@pytest.mark.soak
def test_2000_short_rounds(tmp_path):
    soak_fake(tmp_path, MODELS, ROUNDS)


@pytest.mark.soak
def test_a_quarter_of_an_hour_on_the_cpu(tmp_path):
    soak_cpu(tmp_path, CPU_S)

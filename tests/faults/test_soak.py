"""Long runs: the memory, files and processes of the parent do not grow."""

import statistics
import subprocess
import time
from typing import NamedTuple

import psutil
import pytest
from support.sweep import Sweep

from bench.models.zoo import ZOO

MIB = 2**20
GROWTH_MIB = 5.0  # allowed growth over the second half
A_FEW = 8  # short-lived files or processes that one sample may count; a leak has dozens
SAMPLE_S = 0.2
PARTS = 10
MODELS = 20
ROUNDS = 100
CPU_S = 900.0
CPU_CASES = 100  # more than fit into CPU_S
SUITE = """
models = ["{models}"]
batch = [128]
rounds = {rounds}
"""
FAKE = ["--suite", "long.toml", "--device", "fake"]
RESOLUTIONS = ",".join(str(32 + 2 * number) for number in range(CPU_CASES))
CPU = ["--device", "cpu", "--models", "timm/test_resnet.r160_in1k", "--resolution", RESOLUTIONS]
CPU += ["--batch", "1", "--threads", "1", "--preset", "quick"]


class Sample(NamedTuple):
    """Memory and open files of the parent at one moment, and the number of processes below it."""

    memory_mib: float
    files: int
    processes: int


def watch(run: subprocess.Popen, seconds: float) -> list[Sample]:
    """Sample a run every SAMPLE_S seconds until it ends, for at most `seconds`."""
    parent, seen = psutil.Process(run.pid), []
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline:
        try:
            memory = parent.memory_full_info().uss / MIB
            below = len(parent.children(recursive=True))
            seen.append(Sample(memory, parent.num_fds(), below))
        except psutil.Error:  # the run has just ended
            break
        time.sleep(SAMPLE_S)
    return seen


def assert_no_growth(seen: list[Sample]) -> None:
    """Assert that the second half of the samples needs no more than the first half."""
    size = len(seen) // PARTS
    parts = [seen[size * number : size * (number + 1)] for number in range(PARTS)]
    memory = [statistics.median(each.memory_mib for each in part) for part in parts]
    files = [max(each.files for each in part) for part in parts]
    processes = [max(each.processes for each in part) for part in parts]
    rounded = [round(each, 2) for each in memory]
    print(f"\n{len(seen)} samples, MiB {rounded}, {files=}, {processes=}")
    half = PARTS // 2
    assert memory[-1] - memory[half] < GROWTH_MIB
    assert max(files[half:]) <= max(files[:half]) + A_FEW
    assert max(processes[half:]) <= max(processes[:half]) + A_FEW


def soak_fake(folder, models: int, rounds: int) -> None:
    """Run many short rounds: finds growth per record."""
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
    """Run small cases on the CPU: finds growth per process or per sample."""
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
def test_15_minutes_on_the_cpu(tmp_path):
    soak_cpu(tmp_path, CPU_S)

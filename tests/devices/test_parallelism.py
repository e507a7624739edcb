"""The threads that compute are counted, not those that were asked for."""

import os
import subprocess
import sys

import pytest
import torch

from bench.analysis.settings import FEWEST_USED
from bench.devices import parallelism
from bench.devices.host import allowed_cpus
from bench.devices.process_state import ProcessState

CODE = """
import sys
import torch
from bench.devices.parallelism import threads_used
torch.set_num_threads(int(sys.argv[1]))
print(torch.get_num_threads(), threads_used(2))
"""


def counted(threads, **variables):
    """How many threads a new process was asked for, and how many compute: earlier tests spin."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(threads)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    asked, used = done.stdout.split()
    return int(asked), float(used)


@pytest.fixture(autouse=True)
def as_before():
    threads, cpus = torch.get_num_threads(), os.sched_getaffinity(0)
    yield
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, cpus)


@pytest.mark.parametrize(("threads", "below"), [(1, FEWEST_USED * 2), (2, 2.95)])
def test_threads_that_torch_uses_are_counted(threads, below):
    """Also on a machine whose CPUs are busy: a thread that waits for one counts."""
    asked, used = counted(threads)
    assert asked == threads
    assert 0.8 * threads <= used < below


@pytest.mark.parametrize("variable", ["OMP_THREAD_LIMIT=1", "OMP_WAIT_POLICY=passive"])
def test_a_limit_of_openmp_is_seen_and_passive_waiting_is_no_limit(variable):
    """A limit is seen in each process. Busy CPUs may hide a second thread, but hardly three times.

    As a verdict decides: on a busy machine, waits that began before a call count in it, too.
    """
    name, value = variable.split("=")
    found = [counted(2, **{name: value}) for _ in range(3)]
    assert [asked for asked, _ in found] == [2] * 3
    few = [used < FEWEST_USED * 2 for _, used in found]
    assert all(few) if name == "OMP_THREAD_LIMIT" else not all(few)


def test_the_second_largest_of_several_calls_counts(monkeypatch):
    """A thread that waits for another lowers some calls; one that still spins raises the first."""
    readings = [(0.0, 0.0), (1.0, 2.5), (2.0, 4.5), (3.0, 5.0), (4.0, 6.0), (5.0, 7.5)]
    moments = iter(parallelism._Moment(*each) for each in readings)
    monkeypatch.setattr(parallelism, "_moment", lambda: next(moments))
    assert parallelism.threads_used(1) == 2.0


def test_cpus_are_set_back_for_threads_that_started_meanwhile():
    if len(cpus := os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU")
    import threading

    state, stop = ProcessState(), threading.Event()
    os.sched_setaffinity(0, {min(cpus)})
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert os.sched_getaffinity(thread.native_id) == {min(cpus)}
        state.restore()
        assert os.sched_getaffinity(thread.native_id) == cpus
        os.sched_setaffinity(0, {min(cpus)})
        assert allowed_cpus() == cpus  # OpenMP may bind each thread to a CPU of its own
    finally:
        stop.set()
        thread.join()

"""The CPU time of threads, of written trees and of a real process that is stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest
from support.records import CASE, measurement

from bench.analysis.conditions import conditions_over
from bench.analysis.stillness import stalls
from bench.devices.host import Host
from bench.devices.threads import JIFFY_S, read_threads
from bench.records import Reading

STOP_S = 0.6
# Times two blocks of a computation; in the fifth call of the second block it asks to be stopped.
CHILD = """
import json, os, signal, sys, time
import msgspec
from bench.devices.host import Host
from bench.harness.worker.timing import timed_block

calls = 0

def call():
    global calls
    calls += 1
    if calls == 25 and sys.argv[1] == "stops":
        print("stop", flush=True)
        while time.monotonic() < at + 10 and not stopped:
            pass
    end = time.monotonic() + 0.01
    while time.monotonic() < end:
        pass
    if sys.argv[1] == "sleeps":
        time.sleep(0.01)

stopped, at = [], time.monotonic()
signal.signal(signal.SIGCONT, lambda *_: stopped.append(1))
blocks = []
for _ in range(2):
    before = Host().sense()
    samples = timed_block(call, time.perf_counter, 20).samples_s
    blocks.append((before, Host().sense(), samples))
print(msgspec.json.encode(blocks).decode())
"""


def test_threads_of_a_kernel_that_counts_waits(tmp_path):
    for thread, text in ((10, "2000000000 500000000 7"), (11, "1 2 3"), (12, "broken")):
        folder = tmp_path / f"proc/self/task/{thread}"
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text)
    found = read_threads(tmp_path)
    assert found.seconds == {10: 2.5, 11: pytest.approx(3e-9)}
    assert found.count_waits


def test_threads_of_a_kernel_that_counts_cpu_time_only(tmp_path):
    folder = tmp_path / "proc/self/task/10"
    folder.mkdir(parents=True)
    (folder / "stat").write_text("10 (a ) name) R 1 1 1 0 -1 4 0 0 0 0 30 12 0 0 20 0 1 0 5")
    assert read_threads(tmp_path) == ({10: pytest.approx(42 * JIFFY_S)}, False)


def test_a_system_without_proc_says_that_threads_are_not_read(tmp_path):
    reading = Host(tmp_path).sense()
    assert reading.thread_s == {}
    assert reading.missing["thread_s"] == "no /proc/self/task"


def stalls_of(kind, *, alone=False):
    """The stalls of a real process, which this one stops for STOP_S where it asks for that.

    With `alone`, what other processes computed on this machine is left out.
    """
    arguments = [sys.executable, "-c", CHILD, kind]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        if kind == "stops":
            assert child.stdout.readline() == "stop\n"
            os.kill(child.pid, signal.SIGSTOP)
            time.sleep(STOP_S)
            os.kill(child.pid, signal.SIGCONT)
        blocks = json.loads(child.stdout.readline())
    readings = [tuple(Reading(**_decoded(each)) for each in block[:2]) for block in blocks]
    if alone:
        readings = [tuple(map(_alone, pair)) for pair in readings]
    samples = [block[2] for block in blocks]
    record = measurement(
        CASE,
        samples_s=[*samples[0], *samples[1]],
        block_sizes=[20, 20],
        block_starts_s=[0.0, 1.0],
        conditions=conditions_over(readings),
    )
    return list(stalls(record))


def _alone(reading):
    return msgspec.structs.replace(reading, busy_cpu_s=reading.own_cpu_s, stolen_cpu_s=0.0)


def _decoded(reading):
    seconds = {int(thread): each for thread, each in reading["thread_s"].items()}
    cpus = frozenset(reading["cpu_list"])
    return {**reading, "thread_s": seconds, "cpu_list": cpus}


@pytest.mark.skipif(sys.platform != "linux", reason="the test stops a process by /proc")
def test_a_real_process_that_is_stopped_in_a_block_stood_still():
    found = {stall.block: stall.seconds for stall in stalls_of("stops", alone=True)}
    assert found[2] > 0.9 * STOP_S


@pytest.mark.skipif(sys.platform != "linux", reason="the test reads /proc")
def test_a_real_process_that_sleeps_in_each_call_did_not_stand_still():
    assert stalls_of("sleeps") == []

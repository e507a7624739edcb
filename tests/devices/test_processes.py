"""CPU time of processes with their descendants, of written trees and of this process."""

import os
import sys
import time

import pytest

from bench.devices.processes import cpu_seconds
from bench.devices.threads import JIFFY_S


def write_stat(root, number, parent, *jiffies):
    folder = root / f"proc/{number}"
    folder.mkdir(parents=True)
    times = " ".join(map(str, jiffies))
    line = f"{number} (a ) name) R {parent} 1 1 0 -1 4 0 0 0 0 {times} 20 0 1 0 5"
    (folder / "stat").write_text(line)


def test_descendants_count_for_their_ancestor_and_so_do_those_that_ended(tmp_path):
    write_stat(tmp_path, 1, 0, 500, 0, 0, 0)
    write_stat(tmp_path, 10, 1, 1, 2, 3, 4)
    write_stat(tmp_path, 12, 11, 100, 0, 0, 0)  # a grandchild of 10
    write_stat(tmp_path, 11, 10, 20, 0, 0, 0)
    write_stat(tmp_path, 20, 1, 7, 0, 0, 0)
    (tmp_path / "proc/30").mkdir()  # it ends while it is read
    (tmp_path / "proc/uptime").touch()
    found = cpu_seconds([10, 20, 99], tmp_path)
    assert found == {10: pytest.approx(130 * JIFFY_S), 20: pytest.approx(7 * JIFFY_S)}


def test_numbers_that_were_used_again_end_the_search(tmp_path):
    write_stat(tmp_path, 5, 6, 1, 0, 0, 0)
    write_stat(tmp_path, 6, 5, 1, 0, 0, 0)
    write_stat(tmp_path, 7, 1, 1, 0, 0, 0)
    assert cpu_seconds([7], tmp_path) == {7: JIFFY_S}


def test_a_system_without_proc_tells_nothing(tmp_path):
    assert cpu_seconds([os.getpid()], tmp_path) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="the test reads /proc")
def test_a_real_process_that_computes_is_seen():
    own = os.getpid()
    before = cpu_seconds([own])[own]
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert cpu_seconds([own])[own] - before >= 0.1 - 2 * JIFFY_S

"""Finds processes that compute while they wait for their turn, and so disturb the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.backends import BACKENDS
from bench.devices import clocks, processes
from bench.devices.host import usable_cpus
from bench.devices.threads import read_threads
from bench.harness.scheduler.case_round import CaseRound
from bench.models.naming import setting, without_hash
from bench.records import Case, Failure, Measurement, Neighbour

# A child is restless if it used more than this share of the usable CPUs, and more CPU seconds than
# LEAST_S, which is ten steps of the kernel's counters.
SHARE = 0.10
LEAST_S = 0.1
# A runtime is quiet if its threads used at most QUIET_S of a step; the kernel adds up their time
# each 1 to 4 ms.
STEP_S, QUIET_S = 0.008, 0.0004
LONGEST_S = 0.25  # of waiting; a child that computes for longer is restless


class Restless(NamedTuple):
    """A child that computed out of turn, and the share of the usable CPUs that it used."""

    child: CaseRound
    share: float


class Watch:
    """Reads the CPU time of all children of a sitting before the first block and after each."""

    def __init__(self, children: Sequence[CaseRound]) -> None:
        self._cpus = usable_cpus()
        self._at_s = clocks.monotonic()
        self._used: dict[int, float] = {}
        self._read(children)

    def restless(self, timed: CaseRound, children: Sequence[CaseRound]) -> list[Restless]:
        """Return the children that computed since the last reading while `timed` had its turn.

        share = CPU seconds of the child and its descendants / (seconds * usable CPUs). A child
        whose CPU time cannot be read is not restless.
        """
        before, began_s = self._used, self._at_s
        self._read(children)
        found = []
        for child in children:
            if child is timed or not {child.pid} <= before.keys() & self._used.keys():
                continue
            used_s = self._used[child.pid] - before[child.pid]
            share = used_s / ((self._at_s - began_s) * self._cpus)
            if used_s > LEAST_S and share > SHARE:
                found.append(Restless(child, share))
        return found

    def await_quiet(self, timed: CaseRound, children: Sequence[CaseRound]) -> None:
        """Wait until the runtimes of the waiting children compute no more, at most LONGEST_S.

        The threads of a runtime may wait actively after a call has ended.
        """
        pids = [
            child.pid
            for child in children
            if child is not timed and BACKENDS[child.case.backend].keeps_threads
        ]
        deadline = clocks.monotonic() + LONGEST_S
        used = _used_s(pids)
        while pids and clocks.monotonic() < deadline:
            before = used
            time.sleep(STEP_S)
            used = _used_s(pids)
            if used - before <= QUIET_S:
                return

    def _read(self, children: Sequence[CaseRound]) -> None:
        """Read the CPU time of the children; of a single child it is not needed."""
        pids = [child.pid for child in children]
        self._used = processes.cpu_seconds(pids) if len(pids) > 1 else {}
        self._at_s = clocks.monotonic()


def _used_s(pids: Iterable[int]) -> float:
    """Return the seconds that all threads of the processes have used, and waited for a CPU."""
    return sum(sum(read_threads(process=pid).seconds.values()) for pid in pids)


def neighbour(case: Case, share: float) -> Neighbour:
    """Return the mark of a round that the process of `case` disturbed."""
    name = f"{without_hash(case.name)} {setting(case)}".rstrip()
    return Neighbour(case.case_id, name, share)


def restless_on(records: Iterable[Measurement | Failure]) -> dict[str, float]:
    """Return by case_id the share of each restless case that these records name."""
    found: dict[str, float] = {}
    for record in records:
        if isinstance(record, Measurement):
            found |= {each.case_id: each.share for each in record.disturbed_by}
            if record.restless_share:
                found[record.case_id] = record.restless_share
    return found

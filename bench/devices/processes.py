"""The CPU time of processes and of their descendants, by the Linux kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from bench.devices.threads import JIFFY_S, USER_FIELD, stat_fields

PARENT_FIELD = 1  # of /proc/*/stat after the name
TIMES = 4  # user and system jiffies of the process, then those of its children that have ended


def cpu_seconds(ancestors: Iterable[int], root: Path = Path("/")) -> dict[int, float]:
    """Return, by number of each process, the CPU seconds of the process and its descendants.

    No process of `ancestors` descends from another one. A process that does not exist is left out,
    and so is each process on a system without /proc.
    """
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for number in _numbers(root / "proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended
            fields = stat_fields((root / "proc" / str(number) / "stat").read_text())
            parents[number] = int(fields[PARENT_FIELD])
            used[number] = JIFFY_S * sum(map(int, fields[USER_FIELD : USER_FIELD + TIMES]))
    found = {number: 0.0 for number in ancestors if number in used}
    for number, seconds in used.items():
        if (ancestor := _ancestor(number, parents, found)) is not None:
            found[ancestor] += seconds
    return found


def _numbers(folder: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    return []


def _ancestor(number: int, parents: dict[int, int], wanted: Iterable[int]) -> int | None:
    """The process of `wanted` that is `number` or above it; None if there is none."""
    passed: set[int] = set()  # numbers are used again, so the files could describe a circle
    while number not in wanted:
        passed.add(number)
        if number not in parents or parents[number] in passed:
            return None
        number = parents[number]
    return number

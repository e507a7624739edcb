"""The CPU time of each thread of a process, by the Linux kernel."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.devices.clocks import monotonic

COUNTED_S, LEAST_SHARE = 0.1, 0.2
JIFFY_S = 1 / os.sysconf("SC_CLK_TCK")
USER_FIELD = 11  # of /proc/*/stat after the name: user jiffies, followed by system jiffies


class Threads(NamedTuple):
    """CPU seconds by number of the thread; with `count_waits`, including waits for a CPU."""

    seconds: dict[int, float]
    count_waits: bool


def read_threads(root: Path = Path("/"), process: int | str = "self") -> Threads:
    """Read all threads of a process; no seconds where the system has no /proc, or it has ended.

    A kernel with CONFIG_SCHEDSTATS counts in `schedstat` the nanoseconds for which a thread
    computed, and for which it waited for a CPU. Other kernels count only CPU time, in `stat`.
    """
    tasks = root / "proc" / str(process) / "task"
    waits = _seconds(tasks, "schedstat", _of_schedstat)
    return Threads(waits, True) if waits else Threads(_seconds(tasks, "stat", _of_stat), False)


def computing_threads(call: Callable[[], object]) -> int:
    """Return how many threads of this process compute while a function is called again and again.

    Those count that compute, or wait for a CPU, for LEAST_SHARE of the busiest one's time, within
    COUNTED_S. It is the median of three counts, after a while in which threads of earlier work go
    to sleep. 0 where the system does not tell.
    """
    _computing(call)
    return statistics.median_low(_computing(call) for _ in range(3))


def _computing(call: Callable[[], object]) -> int:
    before, until = read_threads().seconds, monotonic() + COUNTED_S
    while monotonic() < until:
        call()
    used = [seconds - before.get(each, 0.0) for each, seconds in read_threads().seconds.items()]
    busiest = max(used, default=0.0)
    return sum(each > LEAST_SHARE * busiest for each in used)


def _seconds(tasks: Path, name: str, seconds_of: Callable[[str], float]) -> dict[int, float]:
    """Seconds by thread; a thread that ends meanwhile is left out."""
    found: dict[int, float] = {}
    try:
        numbers = [each for each in os.listdir(tasks) if each.isdigit()]
    except OSError:
        return found
    for number in numbers:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[int(number)] = seconds_of((tasks / number / name).read_text())
    return found


def _of_schedstat(text: str) -> float:
    computed_ns, waited_ns = map(int, text.split()[:2])
    return (computed_ns + waited_ns) / 1e9


def stat_fields(text: str) -> list[str]:
    """Return the fields of /proc/*/stat after the name, which may hold spaces."""
    return text.rpartition(")")[2].split()


def _of_stat(text: str) -> float:
    fields = stat_fields(text)
    return (int(fields[USER_FIELD]) + int(fields[USER_FIELD + 1])) * JIFFY_S

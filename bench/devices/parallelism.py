"""How many threads of the CPU really compute, whatever torch was asked for."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from bench.devices import clocks
from bench.devices.host import own_usage
from bench.devices.threads import read_threads

REPEATS = 5
ELEMENTS = 2**15  # of each thread: torch gives a thread no less


class _Moment(NamedTuple):
    """A time, and the seconds for which all threads computed or waited for a CPU until then."""

    at_s: float
    used_s: float


def threads_used(threads: int) -> float:
    """Return the number of threads that compute an operator which has work for `threads`.

    number = (seconds for which a thread computed or waited for a CPU, of all threads) / seconds.
    The second largest of REPEATS calls counts: a thread that waits at the end of a call for another
    thread, which other programs delay, lowers the number; a thread that still spins after an
    earlier call raises it. Where the system does not tell how long a thread waited, only CPU time
    is counted.
    """
    import torch

    values = torch.full((threads * ELEMENTS,), 0.5)
    call = functools.partial(torch.special.zeta, values + 2, values, out=torch.empty_like(values))
    call()  # threads of the call before may still spin
    moments = [_moment()]
    for _ in range(REPEATS):
        call()
        moments.append(_moment())
    found = [
        (after.used_s - before.used_s) / (after.at_s - before.at_s)
        for before, after in itertools.pairwise(moments)
    ]
    return sorted(found)[-2]


def _moment() -> _Moment:
    threads = read_threads()
    used_s = sum(threads.seconds.values()) if threads.count_waits else own_usage().cpu_s
    return _Moment(clocks.monotonic(), used_s)

"""Real faults of a child process, which models called `fault/<kind>` trigger on the fake device.

A fault occurs in the stage `build`, or in the stage at the end of the name: `fault/hang/warmup`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import get_args

from bench.records import Stage

PREFIX = "fault/"
DEFAULT_STAGE = "build"
ADDRESS_SPACE = 2**31  # bytes; `_exhaust` allocates pieces until this limit
PIECE = 2**26
MAX_EATEN = 2**30  # bytes that `_eat` takes at most, in case the cgroup has no limit
FLOOD_LINES = 2**20
DESCRIPTORS = 64
SLEEPER = "import time; time.sleep(3600)"


def _raise() -> None:
    raise RuntimeError("scripted fault")


def _exhaust() -> None:
    """Run out of address space without touching a page of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    held = [bytes(PIECE) for _ in range(ADDRESS_SPACE // PIECE)]
    raise AssertionError(f"{len(held)} pieces were there")


def _eat() -> None:
    """Fill memory until the limit of the cgroup kills the process."""
    held = [b"x" * PIECE for _ in range(MAX_EATEN // PIECE)]
    raise AssertionError(f"{len(held)} pieces were there")


def _hang() -> None:
    time.sleep(3600)


def _spin() -> None:
    while True:
        pass


def _hold() -> None:
    """Compute in C without releasing the GIL: no signal handler and no other thread can run."""
    sum(range(10**12))


def _stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def _babble() -> None:
    """Write invalid text, and text that looks like a message, to stdout and stderr."""
    for file in (1, 2):
        os.write(file, b'{"type":"ready"}\n\xff\x00 half a line')


def _flood() -> None:
    """Write 64 MiB to stderr, then fail: the Failure must have the last line."""
    line = "x" * 63 + "\n"
    for _ in range(FLOOD_LINES // 1024):
        sys.stderr.write(1024 * line)
    print("the last words", file=sys.stderr)
    _raise()


def _chatter() -> None:
    """Write to stderr from a thread that never ends, also while other processes are timed."""

    def write() -> None:
        while True:
            os.write(2, bytes(2**20))

    threading.Thread(target=write, daemon=True).start()


def _write_to_sockets(garbage: bytes) -> None:
    """Write to the private channel, which is the only socket of a child."""
    for file in range(3, DESCRIPTORS):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                left = memoryview(garbage)
                while left:
                    left = left[os.write(file, left) :]


def _mute() -> None:
    """Close the private channel, but do not exit."""
    os.closerange(3, DESCRIPTORS)
    _hang()


def _litter() -> None:
    """Leave three processes behind: a child, one in another session, and an orphan."""
    for own_session in (False, True):
        subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=own_session)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)


def _desert() -> None:
    """Exit and leave processes behind."""
    _litter()
    os._exit(7)


FAILING: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "leave": lambda: sys.exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(7),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),  # as the out-of-memory killer does
    "exhaust": _exhaust,
    "eat": _eat,
    "hang": _hang,
    "spin": _spin,
    "hold": _hold,
    "stubborn": _stubborn,
    "babble": _babble,
    "flood": _flood,
    "chatter": _chatter,
    "garble": lambda: _write_to_sockets(b"no message\n"),
    "half": lambda: _write_to_sockets(b'{"type":'),
    "long": lambda: _write_to_sockets(bytes(2**28)),
    "mute": _mute,
    "litter": _litter,
    "desert": _desert,
}
SCRIPTED = ("nan", "backwards")  # failures of the simulated network and of the simulated clock
CLOCKS = ("clock", "suspended", "set_back")
DISTURBING = ("hog", "steal", "quota", "blind", "bursts", "asleep", "stopped", *CLOCKS)
FAULTS = frozenset(
    [
        *SCRIPTED,
        *DISTURBING,
        *FAILING,
        *(f"{kind}/{stage}" for kind in FAILING for stage in get_args(Stage)),
    ]
)


def fault_of(model: str) -> str:
    """Return the kind of a model called `fault/<kind>`; "" for any other model."""
    return model.removeprefix(PREFIX) if model.startswith(PREFIX) else ""


def trigger(fault: str, stage: Stage) -> None:
    """Trigger `fault` if it belongs to the stage. Some faults return, and the child continues."""
    kind, _, where = fault.partition("/")
    if kind in FAILING and stage == (where or DEFAULT_STAGE):
        FAILING[kind]()

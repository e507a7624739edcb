"""Ways to fail, each for real: what a model called `fault/<kind>` does on the fake device.

In the stage `build`, or in another that its name ends in: `fault/hang/warmup`.
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
USUAL_STAGE = "build"
ADDRESSES = 2**31  # bytes that a process may have; allocated in pieces
PIECE = 2**26
EATEN = 2**30  # at most: somebody who forgot the limit wants the machine back
FLOOD_LINES = 2**20
DESCRIPTORS = 64
SLEEPER = "import time; time.sleep(3600)"


def _raise() -> None:
    raise RuntimeError("scripted fault")


def _exhaust() -> None:
    """Run out of memory, of which no page is touched."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    held = [bytes(PIECE) for _ in range(ADDRESSES // PIECE)]
    raise AssertionError(f"{len(held)} pieces were there")


def _eat() -> None:
    """Fill memory until a limit of the cgroup ends it."""
    held = [b"x" * PIECE for _ in range(EATEN // PIECE)]
    raise AssertionError(f"{len(held)} pieces were there")


def _hang() -> None:
    time.sleep(3600)


def _spin() -> None:
    while True:
        pass


def _hold() -> None:
    """Compute in C, where no signal is handled and no other thread of Python runs."""
    sum(range(10**12))


def _stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def _babble() -> None:
    """Write what is no text, and what looks like a message, where anybody may write."""
    for file in (1, 2):
        os.write(file, b'{"type":"ready"}\n\xff\x00 half a line')


def _flood() -> None:
    """Write 64 MiB, then fail: the last of it is what the Failure tells."""
    line = "x" * 63 + "\n"
    for _ in range(FLOOD_LINES // 1024):
        sys.stderr.write(1024 * line)
    print("the last words", file=sys.stderr)
    _raise()


def _chatter() -> None:
    """Write on and on, whoever's turn it is, from a thread that never ends."""

    def write() -> None:
        while True:
            os.write(2, bytes(2**20))

    threading.Thread(target=write, daemon=True).start()


def _write_to_sockets(garbage: bytes) -> None:
    """The private channel is the one socket that a child has."""
    for file in range(3, DESCRIPTORS):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                left = memoryview(garbage)
                while left:
                    left = left[os.write(file, left) :]


def _mute() -> None:
    """Close the private channel, and do not end."""
    os.closerange(3, DESCRIPTORS)
    _hang()


def _litter() -> None:
    """Leave processes behind: one's own, one of another session, one whose parent is gone."""
    for own_session in (False, True):
        subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=own_session)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)


def _desert() -> None:
    """End, and leave processes behind."""
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
SCRIPTED = ("nan", "backwards")  # failures of a network and of a clock that are not there
SPOILING = ("hog", "steal", "quota", "clock", "blind", "suspended", "set_back")
FAULTS = frozenset(
    [
        *SCRIPTED,
        *SPOILING,
        *FAILING,
        *(f"{kind}/{stage}" for kind in FAILING for stage in get_args(Stage)),
    ]
)


def fault_of(model: str) -> str:
    """What `fault/<kind>` names; "" for any other model."""
    return model.removeprefix(PREFIX) if model.startswith(PREFIX) else ""


def suffer(fault: str, stage: Stage) -> None:
    """Fail as `fault` says, if it is of this stage; some kinds return, and the child goes on."""
    kind, _, where = fault.partition("/")
    if kind in FAILING and stage == (where or USUAL_STAGE):
        FAILING[kind]()

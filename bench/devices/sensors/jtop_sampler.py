"""The child process that imports jtop. Arguments: INTERVAL SILENCE.

INTERVAL is the interval of jtop's samples and SILENCE the age at which a sample is too old, both in
seconds. For each byte on stdin the process answers with one line on stdout: the newest Gauges as
JSON. It ends when its stdin closes or its parent ends.

It writes only in reply to a request. So no thread of the parent wakes in a timed block, and no old
answer waits in the pipe.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
import threading
import time
from typing import Any

import msgspec

from bench.devices import clocks
from bench.devices.sensors.jtop_reading import SILENT, gauges_of, reason_of
from bench.devices.sensors.sensor import MissingSensor
from bench.records import Gauges

PARENT_CHECK_S = 0.5  # interval of checks that the parent still exists


class Newest:
    """The newest sample, passed from the thread that follows jtop to the thread that answers."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._gauges: Gauges | None = None
        self._at_s = 0.0
        self._failed = False

    def put(self, gauges: Gauges, failed: bool = False) -> None:
        """Store `gauges` as the newest sample. After a failure, ignore later samples."""
        with self._changed:
            if self._failed:
                return
            self._gauges, self._at_s, self._failed = gauges, clocks.monotonic(), failed
            self._changed.notify_all()

    def get(self) -> Gauges:
        """Return the newest sample; wait up to `silence_s` seconds for the first.

        If the newest sample is older than `silence_s`, all levels are None, with a reason.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._gauges is not None, self._silence_s)
            if self._gauges is None:
                return MissingSensor(SILENT).gauges()
            age = clocks.monotonic() - self._at_s
            if age > self._silence_s and not self._failed:
                return MissingSensor(f"{SILENT}: nothing new for {age:.1f} s").gauges()
            return self._gauges


def main() -> None:
    """Follow jtop in the main thread, which jtop may need; answer in another thread."""
    interval_s, silence_s = map(float, sys.argv[1:])
    answers = os.dup(1)
    os.dup2(2, 1)  # jtop prints to stdout; answers use a separate descriptor
    newest = Newest(silence_s)
    threading.Thread(target=_answer, args=(answers, newest, os.getppid()), daemon=True).start()
    try:
        _follow(interval_s, newest)
    except BaseException as error:
        newest.put(MissingSensor(reason_of(error)).gauges(), failed=True)
    threading.Event().wait()  # until `_answer` ends the process


def _answer(answers: int, newest: Newest, parent: int) -> None:
    """Write one line for each byte on stdin; end the process when stdin or the parent is gone."""
    with contextlib.suppress(OSError):
        while _asked(parent):
            os.write(answers, msgspec.json.encode(newest.get()) + b"\n")
    os._exit(0)  # at once: a thread of jtop's client may wait for a connection forever


def _asked(parent: int) -> bool:
    """Wait for a request; return False when stdin is closed or the parent has ended.

    Another child of a killed parent may keep the pipe open. So the loop also checks that the parent
    is still the same process.
    """
    while not select.select([0], [], [], PARENT_CHECK_S)[0]:
        if os.getppid() != parent:
            return False
    return bool(os.read(0, 1))


def _follow(interval_s: float, newest: Newest) -> None:
    """Pass each sample of jtop to `newest`, until the client stops.

    Raises the client's exception, or ConnectionError if it stops without one.
    """
    jtop: Any = importlib.import_module("jtop")
    client = jtop.jtop(interval=interval_s)
    client.attach(lambda client: newest.put(gauges_of(client)))  # called with each new sample
    client.start()
    while client.ok(spin=True):  # raises an exception of the client's thread
        time.sleep(interval_s)
    raise ConnectionError


if __name__ == "__main__":
    main()

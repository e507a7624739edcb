"""The child process that imports jtop. Arguments: BETWEEN SILENCE.

BETWEEN is the interval of jtop's samples and SILENCE the age at which a sample is too old, both in
seconds. For each byte on stdin the process answers with one line on stdout: the newest Gauges as
JSON. It ends when its stdin closes or its parent ends.

It answers and never reports by itself. So no thread of the parent wakes in a timed block, and no
old answer waits in the pipe.
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

from bench.devices.sensors.jtop_reading import SILENT, gauges_of, reason_of
from bench.devices.sensors.sensor import Blind
from bench.records import Gauges

LOOK_FOR_PARENT_S = 0.5


class Newest:
    """The newest sample, passed from the thread that follows jtop to the thread that answers."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._gauges: Gauges | None = None
        self._at_s = 0.0
        self._failed = False

    def put(self, gauges: Gauges, failed: bool = False) -> None:
        """Keep `gauges` as the newest sample. After a failure, later samples are ignored."""
        with self._changed:
            if self._failed:
                return
            self._gauges, self._at_s, self._failed = gauges, time.monotonic(), failed
            self._changed.notify_all()

    def get(self) -> Gauges:
        """The newest sample. It waits `silence_s` for the first; an older one counts as silence."""
        with self._changed:
            self._changed.wait_for(lambda: self._gauges is not None, self._silence_s)
            if self._gauges is None:
                return Blind(SILENT).gauges()
            age = time.monotonic() - self._at_s
            if age > self._silence_s and not self._failed:
                return Blind(f"{SILENT}: nothing new for {age:.1f} s").gauges()
            return self._gauges


def main() -> None:
    """Follow jtop in the main thread, which it may need, and answer in another thread."""
    between_s, silence_s = map(float, sys.argv[1:])
    answers = os.dup(1)
    os.dup2(2, 1)  # jtop prints to stdout; the answers keep a descriptor of their own
    newest = Newest(silence_s)
    threading.Thread(target=_answer, args=(answers, newest, os.getppid()), daemon=True).start()
    try:
        _follow(between_s, newest)
    except BaseException as error:
        newest.put(Blind(reason_of(error)).gauges(), failed=True)
    threading.Event().wait()  # until `_answer` ends the process


def _answer(answers: int, newest: Newest, parent: int) -> None:
    """Write one line for each byte on stdin; end the process when nobody can ask any more."""
    with contextlib.suppress(OSError):
        while _asked(parent):
            os.write(answers, msgspec.json.encode(newest.get()) + b"\n")
    os._exit(0)  # at once: a thread of the client may wait for a connection for ever


def _asked(parent: int) -> bool:
    """Wait for a question; False when stdin closed or the parent ended.

    A process that was forked from a killed parent may hold the pipe open. So the loop also checks
    that the parent is still the same.
    """
    while not select.select([0], [], [], LOOK_FOR_PARENT_S)[0]:
        if os.getppid() != parent:
            return False
    return bool(os.read(0, 1))


def _follow(between_s: float, newest: Newest) -> None:
    """Raise what the client raises, or ConnectionError where it stops without an error."""
    jtop: Any = importlib.import_module("jtop")
    client = jtop.jtop(interval=between_s)
    client.attach(lambda client: newest.put(gauges_of(client)))  # called with each new sample
    client.start()
    while client.ok(spin=True):  # raises what the client's own thread met
        time.sleep(between_s)
    raise ConnectionError


if __name__ == "__main__":
    main()

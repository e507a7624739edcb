"""The time of one call: what still fits into it, and an end that no step can miss."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

CALL_S = 520.0  # of 9 minutes; the rest is for the start, the end of the last step, and the page
Clock = Callable[[], float]


class TimeOverError(KeyboardInterrupt):
    """A step is stopped, as Ctrl-C stops it: processes end, and stores keep what is whole."""


class Call:
    """One call of at most `seconds`; `now` is a clock of the host."""

    def __init__(self, seconds: float = CALL_S, now: Clock = time.monotonic) -> None:
        self.now = now
        self._ends_at = now() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until the end of the call."""
        return self._ends_at - self.now()

    def has(self, seconds: float) -> bool:
        """Whether work of so many seconds ends before the call does."""
        return seconds <= self.left_s

    @contextlib.contextmanager
    def stopping(self, most_s: float) -> Iterator[None]:
        """Raise TimeOverError in the block after `most_s`, or at the end of the call.

        The estimate of a step may be wrong: a network may hang, or the machine be busy. Only the
        main thread can be stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, max(min(most_s, self.left_s), 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TimeOverError

"""Ctrl-C and SIGTERM during a run: the first one ends it in good order, later ones do nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_came = threading.Event()  # whether a signal came since `heed`


def heed() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, unless the caller ignores them."""
    _came.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _first)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals for a moment, in what is short and must be whole."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise KeyboardInterrupt where a signal came before; call this between blocks.

    Python raises the exception wherever it is at that moment. Code that calls Python from C may
    discard it there (msgspec does so while it hashes a type), and the run would go on.
    """
    if _came.is_set():
        raise KeyboardInterrupt


def _first(*_: object) -> None:
    """End the run. Later signals are ignored, so that they cannot interrupt the clean-up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _came.set()
    raise KeyboardInterrupt

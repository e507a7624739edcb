"""Ctrl-C and SIGTERM during a run: the first one ends it in good order, later ones do nothing."""

from __future__ import annotations

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_came = threading.Event()  # whether a signal came since `heed`


def heed() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, unless the caller ignores them."""
    _came.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _first)


def note() -> None:
    """Let SIGINT and SIGTERM make `check` raise KeyboardInterrupt, and nothing else.

    For work that must not be torn: it ends at its next `check`.
    """
    _came.clear()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: _came.set())


def ignore() -> None:
    """Ignore further signals, in what is short and must be whole."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise KeyboardInterrupt where a signal came before; call this between blocks.

    Python raises the exception wherever it is at that moment. Code that calls Python from C may
    discard it there (msgspec does so while it hashes a type), and the run would go on.
    """
    if _came.is_set():
        raise KeyboardInterrupt


def _first(*_: object) -> None:
    """End the run. Later signals are ignored, so that they cannot interrupt the clean-up."""
    ignore()
    _came.set()
    raise KeyboardInterrupt

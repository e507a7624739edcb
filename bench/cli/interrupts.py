"""Ctrl-C and SIGTERM during a run: the first one ends it in good order, later ones do nothing."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def heed() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, unless the caller ignores them."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _first)


def check() -> None:
    """Raise KeyboardInterrupt where a signal came before; call this between blocks.

    Python raises the exception wherever it is at that moment. Code that calls Python from C may
    discard it there (msgspec does so while it hashes a type), and the run would go on.
    """
    if _ignore_after_signal in map(signal.getsignal, SIGNALS):
        raise KeyboardInterrupt


def _first(*_: object) -> None:
    """End the run. Later signals are ignored, so that they cannot interrupt the clean-up."""
    for number in SIGNALS:
        signal.signal(number, _ignore_after_signal)
    raise KeyboardInterrupt


def _ignore_after_signal(*_: object) -> None:
    """Do nothing: the run is about to end."""

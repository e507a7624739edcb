"""Standard streams that end the program quietly when their reader is gone (`bench list | head`)."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class ClosedPipeError(BaseException):
    """The reader of standard output or standard error is gone.

    Not an OSError: typer and rich handle a broken pipe in ways of their own, with other exit codes.
    """


class _Stream(io.FileIO):
    """A standard stream whose `write` raises ClosedPipeError where the reader is gone."""

    def write(self, data: Any) -> int:
        """Write bytes; return how many were written."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ClosedPipeError from None


def watch_standard_streams() -> None:
    """Make writes to standard output and standard error raise ClosedPipeError.

    Python ignores SIGPIPE, and must: the sockets of child processes rely on it.
    """
    sys.stdout, sys.stderr = (_watched(stream) for stream in (sys.stdout, sys.stderr))


def discard_output() -> None:
    """Discard what is still unwritten; else Python reports it when the program ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)


def _watched(stream: TextIO) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # without a buffer where PYTHONUNBUFFERED is set
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.FileIO):
        return stream  # a test or a notebook has replaced it
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )

"""The channel between parent and child: one JSON message a line over a socket.

Also the pipe through which the parent reads a child's stdout and stderr.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence

import msgspec

from bench.harness.protocol.messages import Reply, Request

LONGEST_LINE = 2**26  # bytes; the longest messages hold a trace of some MB
CHUNK = 2**16  # bytes, as many as a pipe holds
TAIL_BYTES = 2000


class ChannelClosedError(Exception):
    """The other process closed its end, or is gone."""


class GarbageError(Exception):
    """The bytes that came are not a message."""


class OutputPipe:
    """The stdout and stderr of a process, through a pipe; only the last 2,000 bytes are kept.

    The parent reads it while it waits for an answer of that process. A process that writes more
    than a pipe holds in between is blocked until then, and does not disturb the blocks of others.
    """

    def __init__(self, reading: int) -> None:
        os.set_blocking(reading, False)
        self._reading = reading
        self._last = b""

    @property
    def is_open(self) -> bool:
        """Whether more output may come."""
        return self._reading >= 0

    @property
    def tail(self) -> str:
        """The last of the output."""
        self.read()
        return self._last.decode(errors="replace")

    def fileno(self) -> int:
        """The end of the pipe that is read."""
        return self._reading

    def read(self) -> None:
        """Take what is there, at most what a pipe holds, without waiting."""
        if not self.is_open:
            return
        try:
            chunk = os.read(self._reading, CHUNK)
        except BlockingIOError:
            return
        self._last = (self._last + chunk)[-TAIL_BYTES:]
        if not chunk:
            self.close()

    def close(self) -> None:
        """Read no more; the tail stays."""
        if self.is_open:
            os.close(self._reading)
            self._reading = -1


def wait_for(sock: socket.socket, outputs: Sequence[OutputPipe], timeout_s: float | None) -> None:
    """Sleep until something comes over `sock`; wake up meanwhile only to read `outputs`.

    Raises TimeoutError after `timeout_s` seconds.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        pipes = [output for output in outputs if output.is_open]
        poll = select.poll()  # `select` takes no descriptor above 1,023
        for number in (sock.fileno(), *(pipe.fileno() for pipe in pipes)):
            poll.register(number, select.POLLIN)
        ready = {number for number, _ in poll.poll(None if left is None else 1000 * left)}
        if sock.fileno() in ready:
            return
        for pipe in pipes:
            pipe.read()
        if left == 0:
            raise TimeoutError


class Channel:
    """Messages over a stream socket; `outputs` are read while the parent waits for one."""

    def __init__(self, sock: socket.socket, outputs: Sequence[OutputPipe] = ()) -> None:
        self._socket = sock
        self._outputs = outputs
        self._received = bytearray()
        self._searched = 0  # bytes without an end of line

    def send(self, message: Request | Reply) -> None:
        """Send one message. Raises ChannelClosedError."""
        try:
            self._socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive_request(self) -> Request:
        """Wait for the parent's next message. Raises ChannelClosedError."""
        return msgspec.json.decode(self._line(None), type=Request)

    def receive_reply(self, timeout_s: float) -> Reply:
        """Wait for the child's next message.

        Raises ChannelClosedError, TimeoutError after `timeout_s` seconds without a message, and
        GarbageError for bytes that are none: a network may write to every open descriptor.
        """
        line = self._line(timeout_s)
        try:
            return msgspec.json.decode(line, type=Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise GarbageError(str(error)) from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _line(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._received.find(b"\n", self._searched)) < 0:
            self._searched = len(self._received)
            if self._searched > LONGEST_LINE:
                self._received.clear()
                raise GarbageError(f"a line of more than {LONGEST_LINE} bytes")
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            wait_for(self._socket, self._outputs, left)
            try:
                chunk = self._socket.recv(CHUNK)
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            if not chunk:
                raise ChannelClosedError("end of stream")
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._searched = 0
        return line

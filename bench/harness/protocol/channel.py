"""The channel between parent and child: one JSON message per line over a socket.

The module also has the pipe through which the parent reads a child's stdout and stderr.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence

import msgspec

from bench.harness.protocol.messages import Reply, Request

MAX_LINE_BYTES = 2**26  # the longest messages hold a trace of some MB
CHUNK_BYTES = 2**16  # the capacity of a pipe on Linux
TAIL_BYTES = 2000
REQUESTS: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class ChannelClosedError(Exception):
    """The other process closed its end of the channel, or died."""


class MalformedMessageError(Exception):
    """The received bytes are not a valid message."""


class OutputPipe:
    """Reads the stdout and stderr of a process from a pipe; keeps the last TAIL_BYTES bytes.

    The parent reads the pipe only while it waits for a reply of that process. A process that fills
    the pipe at any other time blocks, so its output cannot disturb the blocks of other processes.
    """

    def __init__(self, reading: int) -> None:
        os.set_blocking(reading, False)
        self._reading = reading
        self._last = b""

    @property
    def is_open(self) -> bool:
        """Whether the process may still write output."""
        return self._reading >= 0

    @property
    def tail(self) -> str:
        """The last TAIL_BYTES bytes of the output, as text."""
        self.read()
        return self._last.decode(errors="replace")

    def fileno(self) -> int:
        """The descriptor that this process reads from, as `select` asks for it."""
        return self._reading

    def read(self) -> None:
        """Read at most CHUNK_BYTES of the available output, without waiting."""
        if not self.is_open:
            return
        try:
            chunk = os.read(self._reading, CHUNK_BYTES)
        except BlockingIOError:
            return
        self._last = (self._last + chunk)[-TAIL_BYTES:]
        if not chunk:
            self.close()

    def close(self) -> None:
        """Close the pipe; `tail` stays available."""
        reading, self._reading = self._reading, -1  # first, so that an interrupt repeats no close
        if reading >= 0:
            os.close(reading)


def wait_for(sock: socket.socket, outputs: Sequence[OutputPipe], timeout_s: float | None) -> None:
    """Sleep until `sock` has data to read; wake up before that only to read `outputs`.

    `timeout_s` of None waits without a limit. Raises TimeoutError after `timeout_s` seconds.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        pipes = [output for output in outputs if output.is_open]
        poll = select.poll()  # `select.select` fails for descriptors above 1,023
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
    """Sends and receives messages over a stream socket; reads `outputs` while it waits."""

    def __init__(self, sock: socket.socket, outputs: Sequence[OutputPipe] = ()) -> None:
        self._socket = sock
        self._outputs = outputs
        self._received = bytearray()
        self._searched = 0  # bytes already searched for an end of line

    def send(self, message: Request | Reply) -> None:
        """Send one message. Raises ChannelClosedError where the other process is gone."""
        try:
            self._socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive_request(self) -> Request:
        """Wait for the parent's next message. Raises ChannelClosedError if the parent is gone."""
        return REQUESTS.decode(self._line(None))

    def receive_reply(self, timeout_s: float) -> Reply:
        """Wait for the child's next message.

        Raises ChannelClosedError where the child is gone, TimeoutError after `timeout_s` seconds
        without a message, and MalformedMessageError for bytes that are not a message: the user's
        network may write to every open descriptor.
        """
        line = self._line(timeout_s)
        try:
            return REPLIES.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedMessageError(str(error)) from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _line(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._received.find(b"\n", self._searched)) < 0:
            self._searched = len(self._received)
            if self._searched > MAX_LINE_BYTES:
                self._received.clear()
                raise MalformedMessageError(f"a line of more than {MAX_LINE_BYTES} bytes")
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            wait_for(self._socket, self._outputs, left)
            try:
                chunk = self._socket.recv(CHUNK_BYTES)
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            if not chunk:
                raise ChannelClosedError("end of stream")
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._searched = 0
        return line

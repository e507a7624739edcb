"""What parent and child tell each other, one JSON object a line, and the channel they use."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec

from bench.plan import Plan, ProfilePlan
from bench.records import (
    Case,
    Check,
    Conditions,
    Cost,
    Passport,
    ProfileRow,
    Seconds,
    Setting,
    Source,
    Stage,
    Stages,
    Telemetry,
    Utilisation,
    Waterfall,
)

LONGEST_LINE = 2**26  # bytes; the longest messages hold a trace of some MB
CHUNK = 2**16  # bytes, as many as a pipe holds
TAIL_BYTES = 2000


class Known(msgspec.Struct, frozen=True):
    """What an earlier round found out about a case, so that later ones need not."""

    check: Check
    cost: Cost
    structure: str
    passport: Passport | None = None


class Job(msgspec.Struct, frozen=True, tag="job"):
    """To a new child: what to prepare. `known` is None in the case's first round.

    With `profile` it is profiled instead of timed block by block.
    """

    case: Case
    round: int
    plan: Plan
    known: Known | None
    source: Source | None = None
    profile: ProfilePlan | None = None


class RunBlock(msgspec.Struct, frozen=True, tag="run_block"):
    """To a child: calibrate, call the network `discard` times, then time `iterations` calls."""

    iterations: int
    discard: int


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """To a child: no more blocks; tell what you know."""


class Observe(msgspec.Struct, frozen=True, tag="observe"):
    """To a child that has finished: observe the chip for so many seconds."""

    seconds: float


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    """From a child: it entered a stage. If it dies, that is where."""

    stage: Stage


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From a child: warmed up; seconds that a call took last, and most memory held so far."""

    iteration_s: Seconds
    peak_bytes: int | None


class Block(msgspec.Struct, frozen=True, tag="block"):
    """From a child: one block of timed iterations, and what the kernels took just before it.

    Then as many iterations by the device's own clock, and seconds of one of as many that were
    queued without waiting, where the device has a queue.
    """

    start_s: float
    samples_s: Annotated[list[Seconds], msgspec.Meta(min_length=1)]
    compute_s: Seconds
    memory_s: Seconds
    device_samples_s: list[Seconds] = []
    pipelined_s: Seconds | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """From a child: all that a record needs besides the blocks."""

    stages: Stages
    known: Known
    discarded: int
    conditions: Conditions
    steady: bool | None
    settings: dict[str, Setting]


class Observed(msgspec.Struct, frozen=True, tag="observed"):
    """From a child: what it saw, None where nothing senses the chip, and seconds that it took."""

    telemetry: Telemetry | None
    seconds: float


class Profiled(msgspec.Struct, frozen=True, tag="profiled"):
    """From a child: where the time of its case goes, and what else its plan asked for."""

    rows: list[ProfileRow]
    waterfall: Waterfall
    utilisation: Utilisation
    plain_samples_s: list[float]
    profiled_samples_s: list[float]
    events: int
    macs_per_s: float | None
    bytes_per_s: float | None
    trace: bytes | None


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """From a child: it raised."""

    stage: Stage
    error: str
    message: str


Request = Job | RunBlock | Finish | Observe
Reply = Entered | Ready | Block | Finished | Observed | Profiled | Broken


class ChannelClosedError(Exception):
    """The other side is gone."""


class GarbageError(Exception):
    """What came is no message."""


class Voice:
    """What a process says on stdout and stderr, through a pipe; only the last of it is kept.

    It is heard while its parent waits for an answer of it. If it says more than a pipe holds in
    between, it waits until then, and the blocks of others are left alone.
    """

    def __init__(self, reading: int) -> None:
        os.set_blocking(reading, False)
        self._reading = reading
        self._last = b""

    @property
    def lasts(self) -> bool:
        """Whether there may be more to hear."""
        return self._reading >= 0

    @property
    def last_words(self) -> str:
        """The last of what it said."""
        self.hear()
        return self._last.decode(errors="replace")

    def fileno(self) -> int:
        """The end of the pipe that is read."""
        return self._reading

    def hear(self) -> None:
        """Take what is there, at most what a pipe holds, without waiting."""
        if not self.lasts:
            return
        try:
            said = os.read(self._reading, CHUNK)
        except BlockingIOError:
            return
        self._last = (self._last + said)[-TAIL_BYTES:]
        if not said:
            self.close()

    def close(self) -> None:
        """Hear no more; what was heard stays."""
        if self.lasts:
            os.close(self._reading)
            self._reading = -1


def wait_for(sock: socket.socket, voices: Sequence[Voice], timeout_s: float | None) -> None:
    """Sleep until something comes over `sock`; wake up besides only to hear `voices`.

    Raises TimeoutError after `timeout_s` seconds.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        heard = [voice for voice in voices if voice.lasts]
        poll = select.poll()  # `select` takes no number above 1,023
        for number in (sock.fileno(), *(voice.fileno() for voice in heard)):
            poll.register(number, select.POLLIN)
        ready = {number for number, _ in poll.poll(None if left is None else 1000 * left)}
        if sock.fileno() in ready:
            return
        for voice in heard:
            voice.hear()
        if left == 0:
            raise TimeoutError


class Channel:
    """Messages over a stream socket; `voices` are heard while one waits for them."""

    def __init__(self, sock: socket.socket, voices: Sequence[Voice] = ()) -> None:
        self._socket = sock
        self._voices = voices
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

        Raises ChannelClosedError, TimeoutError after `timeout_s` seconds without one, or
        GarbageError for what is no message, as where a network writes to all that is open.
        """
        line = self._line(timeout_s)
        try:
            return msgspec.json.decode(line, type=Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise GarbageError(str(error)) from error

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _line(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._received.find(b"\n", self._searched)) < 0:
            self._searched = len(self._received)
            if self._searched > LONGEST_LINE:
                self._received.clear()
                raise GarbageError(f"a line of more than {LONGEST_LINE} bytes")
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            wait_for(self._socket, self._voices, left)
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

"""What parent and child tell each other, one JSON object a line, and the channel they use."""

from __future__ import annotations

import select
import socket
import time

import msgspec

from bench.plan import Plan, ProfilePlan
from bench.records import (
    Case,
    Check,
    Conditions,
    Cost,
    Passport,
    ProfileRow,
    Setting,
    Source,
    Stage,
    Stages,
    Telemetry,
    Utilisation,
    Waterfall,
)


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

    iteration_s: float
    peak_bytes: int | None


class Block(msgspec.Struct, frozen=True, tag="block"):
    """From a child: one block of timed iterations, and what the kernels took just before it.

    Then as many iterations by the device's own clock, and seconds of one of as many that were
    queued without waiting, where the device has a queue.
    """

    start_s: float
    samples_s: list[float]
    compute_s: float
    memory_s: float
    device_samples_s: list[float] = []
    pipelined_s: float | None = None


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


class Channel:
    """Messages over a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._received = bytearray()

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
        msgspec.ValidationError for what is no message.
        """
        return msgspec.json.decode(self._line(timeout_s), type=Reply)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _line(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._received.find(b"\n")) < 0:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError
            try:
                chunk = self._socket.recv(1 << 16)
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            if not chunk:
                raise ChannelClosedError("end of stream")
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

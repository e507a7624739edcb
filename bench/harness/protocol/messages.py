"""What parent and child tell each other."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bench.harness.plan import Plan, ProfilePlan
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


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """From a child: the case raised an error."""

    stage: Stage
    error: str
    message: str


Request = Job | RunBlock | Finish | Observe
Reply = Entered | Ready | Block | Finished | Observed | Profiled | Raised

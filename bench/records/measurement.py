"""What is recorded of a case in one process, or why it could not be measured."""

from __future__ import annotations

import itertools
from typing import Annotated

import msgspec

from bench.records.case import Case
from bench.records.conditions import Conditions, Telemetry
from bench.records.fields import (
    SCHEMA,
    Count,
    Integer,
    Name,
    Number,
    Samples,
    Setting,
    Stage,
    StopReason,
    Text,
    Whole,
)


class Cost(msgspec.Struct, frozen=True):
    """What a case costs besides time; None where nobody counted. MACs are those of one image.

    Weights and activations are those of fp32. `peak_memory_bytes` is the most that the network
    held, on a GPU of torch's allocator; of that allocator is `peak_reserved_bytes` too, and
    `process_bytes` is what the driver says that the process holds on the GPU, context included.
    """

    params: Count | None = None
    macs: Count | None = None
    weight_bytes: Count | None = None
    activation_bytes: Count | None = None
    peak_memory_bytes: Count | None = None
    peak_reserved_bytes: Count | None = None
    process_bytes: Count | None = None


class Stages(msgspec.Struct, frozen=True):
    """Seconds of a case's own work in one round; waiting for its turn is in none of them.

    `start` is of the process: threads, the device, the kernels. Compiling and capturing a graph
    are in `load`; `first` is the first call after it. Discarded
    calls are `warmup`, calibration kernels between blocks are `calibrate`, blocks timed by the
    device's own clock and pipelined ones are `events`, the steady loop is `observe`.
    """

    start: Number = 0.0
    build: Number = 0.0
    fuse: Number = 0.0
    load: Number = 0.0
    check: Number = 0.0
    first: Number = 0.0
    warmup: Number = 0.0
    timed: Number = 0.0
    calibrate: Number = 0.0
    events: Number = 0.0
    observe: Number = 0.0

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(msgspec.structs.astuple(self))


class Check(msgspec.Struct, frozen=True):
    """That a network computes what its name says, on seeded input, before it is timed.

    `against` is the form or backend it was compared with (None: nothing to compare with, only
    that the output is finite and of the right shape). Errors are relative to the largest
    difference that the reference makes between two images: what does not depend on the image
    proves nothing.
    """

    against: Name | None = None
    largest_absolute_error: float | None = None
    largest_relative_error: float | None = None
    tolerance: float | None = None


class Passport(msgspec.Struct, frozen=True):
    """What became of a network that has forms: before is its first form, after the one timed.

    Operators are those that one image runs; `zero_share` is of weights that are exactly zero;
    errors are against the first form, None for that itself, relative to its largest output.
    """

    convolutions: Count
    normalisations: Count
    additions: Count
    concatenations: Count
    params_before: Count
    params_after: Count
    macs_before: Count
    macs_after: Count
    zero_share: Number
    structure: Name
    largest_absolute_error: float | None = None
    largest_relative_error: float | None = None


class Measurement(msgspec.Struct, frozen=True, tag="measurement", tag_field="type"):
    """Raw samples of one case from one process.

    `samples_s` are all timed iterations in order, cut into blocks of `block_sizes` iterations
    that began at `block_starts_s` (monotonic). Before each block a compute-bound and a
    memory-bound kernel took `block_compute_s` and `block_memory_s`. `steady` is whether the
    warm-up settled (None: it was not looked at). Cases of one run with the same `sitting` took
    turns (0: not recorded, then those of one round did). `device_samples_s` are as many iterations
    by the device's own clock, from blocks that alternate with the others; `block_pipelined_s` are
    seconds of an iteration where a block was queued without waiting in between. `settings` are
    switches of torch as they stood. `share_s` is the case's share of what
    its round spent on starting its template process. `structure` is a hash of the network's.
    Records of version 0.1 have neither kernels nor conditions.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Whole
    samples_s: Annotated[Samples, msgspec.Meta(min_length=1)]
    block_sizes: list[Integer]
    block_starts_s: list[Number]
    stages_s: Stages
    cost: Cost
    stopped_by: StopReason
    discarded: Integer
    share_s: Number
    structure: Name
    check: Check
    preset: Name
    passport: Passport | None = None
    warnings: list[Text] = []
    block_compute_s: Samples = []
    block_memory_s: Samples = []
    conditions: Conditions | None = None
    steady: bool | None = None
    sitting: Integer = 0
    device_samples_s: Samples = []
    block_pipelined_s: Samples = []
    settings: dict[Name, Setting] = {}
    telemetry: Telemetry | None = None
    schema: Integer = SCHEMA

    def __post_init__(self) -> None:
        """Raise ValueError where the blocks are not those of the samples."""
        blocks = len(self.block_sizes)
        if sum(self.block_sizes) != len(self.samples_s) or min(self.block_sizes) < 1:
            raise ValueError("block_sizes do not add up to the samples")
        if len(self.block_starts_s) != blocks:
            raise ValueError("not as many block_starts_s as blocks")
        if {len(self.block_compute_s), len(self.block_memory_s)} not in ({0}, {blocks}):
            raise ValueError("not as many calibrations as blocks")
        if len(self.device_samples_s) not in (0, len(self.samples_s)):
            raise ValueError("not as many device samples as samples")
        if len(self.block_pipelined_s) not in (0, blocks):
            raise ValueError("not as many pipelined blocks as blocks")

    @property
    def blocks(self) -> list[list[float]]:
        """The samples, block by block."""
        ends = list(itertools.accumulate(self.block_sizes))
        return [
            self.samples_s[end - n : end] for n, end in zip(self.block_sizes, ends, strict=True)
        ]


class Failure(msgspec.Struct, frozen=True, tag="failure", tag_field="type"):
    """A case that could not be measured: where it stopped, the kind of error, its message."""

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Integer
    stage: Stage
    error: Text
    message: Text
    stderr_tail: Text = ""
    warnings: list[Text] = []
    schema: Integer = SCHEMA

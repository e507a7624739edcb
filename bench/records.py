"""What flows through `bench` and what is kept: frozen, typed, JSON both ways.

SI units: seconds unless the name says otherwise, bytes, multiply-accumulates. Samples are kept,
statistics are derived. A field that is None was not measured; it is never 0 for that.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, TypeGuard

import msgspec

SCHEMA = 1
SLUG_LETTERS = 100

# Records may come from strangers: what cannot be is refused when it is read.
Whole = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Integer = Annotated[int, msgspec.Meta(ge=-(10**18), le=10**18)]
Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Rate = Annotated[float, msgspec.Meta(ge=1, le=1e18)]
Seconds = Annotated[float, msgspec.Meta(ge=1e-9, le=1e9)]
Samples = Annotated[list[Seconds], msgspec.Meta(max_length=10**7)]
Name = Annotated[str, msgspec.Meta(max_length=10_000, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Text = Annotated[str, msgspec.Meta(max_length=10**6)]

StopReason = Literal["round", "precision", "noise", "budget", "rounds"]
Stage = Literal[
    "start",
    "build",
    "fuse",
    "load",
    "check",
    "first",
    "warmup",
    "timed",
    "calibrate",
    "events",
    "observe",
    "profile",
]
Category = Literal[
    "depthwise or group conv",
    "pointwise conv",
    "other conv",
    "fully connected",
    "layer norm",
    "batch norm",
    "activation",
    "addition",
    "dimension transform",
    "attention",
    "pooling",
    "other",
    "unattributed",
]
OUT_OF_MEMORY = "OutOfMemory"  # the one error of a Failure that other code asks about
Setting = Text | Integer | Number | bool | None


class Case(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """One thing to measure. `device` is the driver (`cpu`), never an alias."""

    model: Name
    form: Name
    backend: Name = "eager"
    precision: Name = "fp32"
    batch: Whole = 1
    resolution: Whole = 224
    device: Name = "cpu"
    threads: Whole = 1

    @property
    def case_id(self) -> str:
        """A hash of the canonical JSON of the case."""
        canonical = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The model with its form, as `--models` takes it."""
        return self.model if self.form == "plain" else f"{self.model}@{self.form}"

    @property
    def group(self) -> tuple[str, int, int]:
        """Cases of one group are compared, so they take turns: device, batch, resolution."""
        return (self.device, self.batch, self.resolution)


class Source(msgspec.Struct, frozen=True):
    """Where a child finds what the case's name alone does not tell: paths, so never on record.

    `zoo` is the name there of a model that has `weights` of the user's.
    """

    zoo: str = ""
    factory: str = ""
    file: str = ""
    file_hash: str = ""
    module: str = ""
    weights: str = ""
    weights_hash: str = ""


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


class Counters(msgspec.Struct, frozen=True):
    """What a device counts, and grows only; None where it could not be read.

    CPU seconds of this process, of everybody on the CPUs that we may use, and of other guests of
    the host (steal); seconds and periods for which a quota stopped us; thermal events; page
    faults of this process.
    """

    own_cpu_s: Number | None = None
    busy_cpu_s: Number | None = None
    stolen_cpu_s: Number | None = None
    throttled_s: Number | None = None
    throttled_periods: Integer | None = None
    overheated: Integer | None = None
    page_faults: Integer | None = None


class Reading(Counters, frozen=True, kw_only=True):
    """What a device senses at one moment: counters since some past moment, and levels.

    `cpus` are those that we may use; clock, temperature, power and throttles are those of the
    chip that computes. `missing` says of each None why it could not be read.
    """

    at_s: Number
    cpus: Integer | None = None
    clock_hz: Number | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    power_mode: Name | None = None
    missing: dict[Name, Text] = {}


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a GPU at one moment; None where one could not be read, and `missing` says why.

    `utilisation` is the driver's own average over its last moment, 0 to 1: the share of time in
    which any kernel ran, not how much of the chip it filled. `throttles` are the reasons that
    hold the clock down now, by NVML's names in lower case (`sw_thermal_slowdown`).
    """

    utilisation: Number | None = None
    clock_hz: Number | None = None
    memory_clock_hz: Number | None = None
    temperature_c: Number | None = None
    power_w: Number | None = None
    throttles: list[Text] | None = None
    missing: dict[Name, Text] = {}


class Jump(msgspec.Struct, frozen=True):
    """What the clocks of the machine did while the block of that number (from 1) was timed.

    It was suspended for so many seconds, which no sample holds; its time of day was set so many
    forward, or back where that is negative.
    """

    block: Whole
    suspended_s: Number = 0.0
    set_s: Number = 0.0


class Conditions(Counters, frozen=True):
    """The state of the machine while the blocks of a round were timed: sums over blocks.

    Levels are those seen anywhere before or after a block, clocks of a GPU only right after one,
    where it works; `throttled_by` is every reason seen. `foreign_processes` were on the GPU before
    the round's first child was. `power_modes` begins with that of the environment, where a mode is
    part of it. `jumps` are of blocks that may be spoilt. What could not be read is None, and
    `missing` says why.
    """

    wall_s: Number = 0.0
    cpus: Integer | None = None
    lowest_clock_hz: Number | None = None
    highest_clock_hz: Number | None = None
    highest_temperature_c: Number | None = None
    highest_power_w: Number | None = None
    throttled_by: list[Text] | None = None
    foreign_processes: Integer | None = None
    power_modes: list[Text] = []
    missing: dict[Name, Text] = {}
    jumps: list[Jump] = []


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """What back-to-back calls did to a GPU, sampled beside them for `seconds`; in no timed block.

    Lists hold one value a sample, without those that could not be read; `missing` says why.
    `energy_j` is of the chip's own counter over the whole loop, idle power included.
    """

    seconds: Seconds
    iterations: Whole
    utilisation: list[Number] = []
    clock_hz: list[Number] = []
    memory_clock_hz: list[Number] = []
    temperature_c: list[Number] = []
    power_w: list[Number] = []
    throttled_by: list[Text] = []
    energy_j: Number | None = None
    missing: dict[Name, Text] = {}


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


class ProfileRow(msgspec.Struct, frozen=True):
    """What one operator of one module takes in an iteration, without the profiler's own cost.

    `module` is its path in the network (`stages.2.blocks.4.pw1`), "" where it is not known, as in
    a compiled network; the operator is then the kernel. `calls` are those of an iteration, `macs`
    and `bytes` of all of them, None where nobody could count.
    """

    operator: Text
    module: Text
    category: Category
    calls: Whole
    time_s: Number
    macs: Count | None = None
    bytes: Count | None = None


class Waterfall(msgspec.Struct, frozen=True):
    """What adds up to the latency without the profiler: `busy_s` (operators, on a GPU kernels),
    `gaps_s` (launches and Python in between), `sync_s` (waiting for the end) and `residual_s`.

    `overhead_s` is what the profiler added to an iteration, `overhead_expected_s` what its events
    should have by their number: the terms are without the latter, so the residual is how far the
    two disagree.
    """

    plain_s: Seconds
    busy_s: Number
    gaps_s: Number
    sync_s: Number
    residual_s: Number
    overhead_s: Number
    overhead_expected_s: Number


class Utilisation(msgspec.Struct, frozen=True):
    """Three numbers that are not one another; None where there is no such thing.

    `busy` is the share of the profiled time in which any kernel ran (of a CPU: busy cores of
    those used), `busy_corrected` that of the latency without the profiler, `sm_fill` how much of
    the multiprocessors a kernel's blocks filled, weighted by time, `occupancy` the profiler's
    estimate of resident warps, `sampled` the driver's counter in the steady loop.
    """

    busy: Number | None = None
    busy_corrected: Number | None = None
    sm_fill: Number | None = None
    occupancy: Number | None = None
    sampled: Number | None = None


class Peaks(msgspec.Struct, frozen=True, tag="peaks", tag_field="type"):
    """What a device reaches at best in one precision on so many threads: a short matrix product
    and a copy. Multiply-accumulates and bytes a second."""

    run_id: Name
    environment_id: Name
    precision: Name
    threads: Whole
    macs_per_s: Rate
    bytes_per_s: Rate
    schema: Integer = SCHEMA


class Profile(msgspec.Struct, frozen=True, tag="profile", tag_field="type"):
    """Where the time of a case goes in one process: a pass of its own, plain blocks in turns.

    Blocks lasted for `seconds`; samples are iterations of the plain and of the profiled ones. The
    rows and the other terms of the waterfall add up to the median of the plain ones.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Whole
    seconds: Number
    rows: list[ProfileRow]
    waterfall: Waterfall
    utilisation: Utilisation
    plain_samples_s: Samples
    profiled_samples_s: Samples
    events: Whole
    warnings: list[Text] = []
    schema: Integer = SCHEMA


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


class Chip(msgspec.Struct, frozen=True):
    """What a device is: facts that do not change while it runs.

    `kind` is the paper's kind of device (`cpu`, `gpu`, `edge`), "" for one that is none.
    """

    device: Name
    kind: Name
    name: Text
    threads: Integer
    facts: dict[Name, Text | Integer | Number | None]

    @property
    def slug(self) -> str:
        """The chip's name in lower case with hyphens: the name of its folder of results."""
        return _slug(self.name) or _slug(self.device) or "unknown"


class Environment(msgspec.Struct, frozen=True, tag="environment", tag_field="type"):
    """Where a run was made. `environment_id` hashes chip and versions, not the state."""

    run_id: Name
    environment_id: Name
    chip: Chip
    versions: dict[Name, Text | None]
    state: dict[Name, Text | Integer | Number | None]
    started_at: Name
    command: str
    schema: Integer = SCHEMA


def _slug(text: str) -> str:
    """What can be part of a path anywhere, and lead nowhere else: letters, digits and hyphens."""
    return "-".join(re.findall("[a-z0-9]+", text.lower()))[:SLUG_LETTERS].strip("-")


Record = Measurement | Failure | Environment | Profile | Peaks


def of_cases(records: Iterable[Record]) -> Iterator[Measurement | Failure]:
    """The measurements among `records`, and the failures of measuring: not those of a profile."""
    for record in records:
        if isinstance(record, Measurement) or _failed(record, profiling=False):
            yield record


def of_profiles(records: Iterable[Record]) -> Iterator[Profile | Failure]:
    """The profiles among `records`, and the failures of profiling."""
    for record in records:
        if isinstance(record, Profile) or _failed(record, profiling=True):
            yield record


def _failed(record: Record, *, profiling: bool) -> TypeGuard[Failure]:
    return isinstance(record, Failure) and (record.stage == "profile") == profiling

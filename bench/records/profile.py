"""Where the time of a case goes."""

from __future__ import annotations

import msgspec

from bench.records.case import Case
from bench.records.fields import (
    SCHEMA,
    Category,
    Count,
    Integer,
    Name,
    Number,
    Rate,
    Samples,
    Seconds,
    Text,
    Whole,
)


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

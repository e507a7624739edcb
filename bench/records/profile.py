"""Profiles: the breakdown of a case's latency, and the peaks of a device."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bench.records.case import Case
from bench.records.fields import (
    SCHEMA,
    Amount,
    Category,
    Count,
    Duration,
    Integer,
    Name,
    Offset,
    Ordinal,
    Rate,
    Round,
    Samples,
    Seconds,
    Text,
    Whole,
)


class ProfileRow(msgspec.Struct, frozen=True):
    """The time of one operator in one module per iteration, without the profiler's cost.

    `module` is the path in the network (`stages.2.blocks.4.pw1`); it is "" if not known, as in a
    compiled network, where `operator` is the name of the kernel. `calls` counts the calls in an
    iteration. `macs` and `bytes` are sums over these calls, None if they could not be counted.
    """

    operator: Text
    module: Text
    category: Category
    calls: Whole
    time_s: Duration
    macs: Count | None = None
    bytes: Count | None = None


class Waterfall(msgspec.Struct, frozen=True):
    """The terms of the latency: plain_s = busy_s + gaps_s + sync_s + residual_s.

    busy_s: operators, or on a GPU kernels. gaps_s: launches and Python between them. sync_s:
    waiting for the last kernel. overhead_s: seconds by which the profiler slowed an iteration.
    overhead_expected_s: the slowdown expected from the number of events and page faults. It is
    subtracted from the terms, so residual_s shows how far the two disagree.
    """

    plain_s: Seconds
    busy_s: Duration
    gaps_s: Duration
    sync_s: Offset
    residual_s: Offset
    overhead_s: Offset
    overhead_expected_s: Offset


class Utilisation(msgspec.Struct, frozen=True):
    """Different measures of utilisation, each from 0 to 1; None if the device has no such measure.

    busy: share of the profiled time in which any kernel ran; on a CPU, busy cores / used cores.
    busy_corrected: busy_s / plain_s, without the profiler. sm_fill: share of the multiprocessors
    that a kernel's blocks fill, weighted by time. occupancy: the profiler's estimate of the share
    of resident warps, weighted by time. sampled: the driver's counter during the steady loop.
    """

    busy: Amount | None = None
    busy_corrected: Amount | None = None
    sm_fill: Amount | None = None
    occupancy: Amount | None = None
    sampled: Amount | None = None


class Peaks(msgspec.Struct, frozen=True, tag="peaks", tag_field="type"):
    """Peak rates of a device in one precision on `threads` threads.

    `macs_per_s`: multiply-accumulates per second of a short matrix product. `bytes_per_s`: bytes
    per second of a memory copy.
    """

    run_id: Name
    environment_id: Name
    precision: Name
    threads: Whole
    macs_per_s: Rate
    bytes_per_s: Rate
    schema: Integer = SCHEMA


class Profile(msgspec.Struct, frozen=True, tag="profile", tag_field="type"):
    """The breakdown of a case's latency in one process, from alternating plain and profiled blocks.

    All blocks together lasted for `seconds`. The samples are seconds of the plain and of the
    profiled iterations. The rows and the other terms of the waterfall add up to the median of the
    plain samples. `runtime` is as in a Measurement.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    round: Round
    seconds: Duration
    rows: list[ProfileRow]
    waterfall: Waterfall
    utilisation: Utilisation
    plain_samples_s: Annotated[Samples, msgspec.Meta(min_length=1)]
    profiled_samples_s: Annotated[Samples, msgspec.Meta(min_length=1)]
    events: Whole
    warnings: list[Text] = []
    generation: Ordinal = 0
    runtime: dict[Name, Text] = {}
    schema: Integer = SCHEMA

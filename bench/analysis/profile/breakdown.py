"""From profiled and plain iterations to rows and terms that add up. Pure functions.

A profiled iteration is slower than a plain one. The profiler records each event, and its
allocations cause more page faults. The cost of events and of page faults is measured separately
and subtracted from rows and terms. The residual is plain latency minus all other terms; no term is
fitted to make it small.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from bench.analysis.profile.kernels import kernel_category
from bench.analysis.profile.trace import Event, Iteration, TraceError, has_kernels, union_s
from bench.records import Category, Operator, ProfileRow, Utilisation, Waterfall

RESIDUAL_LIMIT = 0.05  # share of the latency; a larger residual marks the breakdown


class ProfilerCost(NamedTuple):
    """Seconds that the profiler adds per event, and per iteration for page faults."""

    event_s: float
    faults_s: float = 0.0


class Samples(NamedTuple):
    """Seconds of iterations by block; the n-th plain and the n-th profiled block are neighbours."""

    plain: list[list[float]]
    profiled: list[list[float]]

    @property
    def slowdown(self) -> float:
        """Profiled / plain: exp of the median log-ratio of neighbouring blocks' medians."""
        pairs = zip(self.profiled, self.plain, strict=True)
        logs = [math.log(statistics.median(p) / statistics.median(plain)) for p, plain in pairs]
        return math.exp(statistics.median(logs))

    @property
    def plain_s(self) -> float:
        """Median seconds of a plain iteration."""
        return statistics.median([sample for block in self.plain for sample in block])


class Part(NamedTuple):
    """The contribution of one iteration to a row: seconds, events of the profiler, and calls."""

    operator: Operator
    seconds: float
    events: float
    calls: float


class Breakdown(NamedTuple):
    """The result of `break_down`; `events` is the mean number of events per iteration."""

    rows: list[ProfileRow]
    waterfall: Waterfall
    utilisation: Utilisation
    events: int


def break_down(
    iterations: Sequence[Iteration],
    anatomy: Sequence[Operator],
    samples: Samples,
    cost: ProfilerCost,
    sm_count: int | None,
) -> Breakdown:
    """The rows of a case and the terms of its latency.

    `anatomy` lists the operators that a call of the network runs; it is empty for a compiled
    network or a graph. Terms: plain = busy + gaps + sync + residual, where gaps are the scaled
    profiled wall time minus busy, sync and the expected profiler cost. Raises TraceError if the
    iterations differ from each other or from the anatomy.
    """
    _check(iterations, anatomy)
    events = statistics.fmean(iteration.events for iteration in iterations)
    wall_s = statistics.fmean(iteration.mark.seconds for iteration in iterations)
    scale = samples.plain_s * samples.slowdown / wall_s  # to the machine speed of the plain blocks
    on_gpu = has_kernels(iterations)
    if on_gpu:  # the GPU times its kernels, so a slow host needs no correction
        rows = _rows(_kernel_parts(iterations, anatomy), 1.0, 0.0)
        busy_s = statistics.fmean(union_s(iteration.kernels) for iteration in iterations)
        sync_s = statistics.fmean(map(_sync_s, iterations))
    else:
        rows = _rows(_host_parts(iterations, anatomy), scale, cost.event_s)
        busy_s = max(sum(row.time_s for row in rows) - cost.faults_s, 0.0)
        sync_s = 0.0
    expected_s = events * cost.event_s + cost.faults_s
    gaps_s = max(wall_s * scale - busy_s - sync_s - expected_s, 0.0)
    waterfall = Waterfall(
        plain_s=samples.plain_s,
        busy_s=busy_s,
        gaps_s=gaps_s,
        sync_s=sync_s,
        residual_s=samples.plain_s - busy_s - gaps_s - sync_s,
        overhead_s=samples.plain_s * (samples.slowdown - 1),
        overhead_expected_s=expected_s,
    )
    utilisation = _of_gpu(iterations, waterfall, sm_count) if on_gpu else Utilisation()
    return Breakdown(_adding_up(rows, busy_s), waterfall, utilisation, round(events))


def _adding_up(rows: Sequence[ProfileRow], busy_s: float) -> list[ProfileRow]:
    """The rows, with times scaled by busy_s / sum(time_s) so that they add up to `busy_s`.

    All rows are 0 where the events of the profiler cost more than the operators took.
    """
    summed_s = sum(row.time_s for row in rows)
    if not summed_s:
        return list(rows)
    return [structs.replace(row, time_s=row.time_s * busy_s / summed_s) for row in rows]


def adds_up(waterfall: Waterfall) -> bool:
    """Whether |residual| <= 5 % of the plain latency."""
    return abs(waterfall.residual_s) <= RESIDUAL_LIMIT * waterfall.plain_s


def _check(iterations: Sequence[Iteration], anatomy: Sequence[Operator]) -> None:
    names = [f"{operator.namespace}::{operator.name}" for operator in anatomy]
    first = iterations[0]
    for number, iteration in enumerate(iterations, 1):
        seen = [event.name for event in iteration.operators]
        if anatomy and seen != names:
            raise TraceError(f"iteration {number}: {_difference(seen, names)}")
        if len(iteration.kernels) != len(first.kernels):
            counts = f"{len(iteration.kernels)} kernels, the first {len(first.kernels)}"
            raise TraceError(f"iteration {number} has {counts}: events were dropped")
    if not any(iteration.operators or iteration.kernels for iteration in iterations):
        raise TraceError("no operator and no kernel is in the trace")


def _difference(seen: Sequence[str], names: Sequence[str]) -> str:
    """The first place at which two lists of operators differ, as text."""
    for place, (ours, expected) in enumerate(zip(seen, names, strict=False)):
        if ours != expected:
            return f"operator {place} is {ours}, the network calls {expected}"
    return f"{len(seen)} operators, the network calls {len(names)}"


def _host_parts(iterations: Sequence[Iteration], anatomy: Sequence[Operator]) -> list[Part]:
    """One part for each operator of each iteration."""
    share = 1 / len(iterations)
    parts = []
    for iteration in iterations:
        known = anatomy or [_unknown(event) for event in iteration.operators]
        for operator, event, inner in zip(
            known, iteration.operators, iteration.nested, strict=True
        ):
            parts.append(Part(operator, event.seconds * share, len(inner) * share, share))
    return parts


def _kernel_parts(iterations: Sequence[Iteration], anatomy: Sequence[Operator]) -> list[Part]:
    """One part for each kernel, attributed to the operator that launched it if it is known."""
    share = 1 / len(iterations)
    parts = []
    for iteration in iterations:
        owners = _owners(iteration, anatomy)
        of_each = Counter(place for place in owners if place is not None)
        for kernel, place in zip(iteration.kernels, owners, strict=True):
            operator = _unknown(kernel) if place is None else anatomy[place]
            calls = share if place is None else share / of_each[place]
            parts.append(Part(operator, kernel.seconds * share, 0.0, calls))
    return parts


def _owners(iteration: Iteration, anatomy: Sequence[Operator]) -> list[int | None]:
    """For each kernel the place in `anatomy` of the operator that launched it; None if unknown.

    It is the operator that was running when the launch with the kernel's correlation started. Where
    the trace lacks that launch, it is the operator with the kernel's external id, or with an event
    of that id nested in it. In some releases of torch, kernels have the ids of other events.
    """
    by_id = {
        event.args.external_id: place
        for place, (_, inner) in enumerate(zip(anatomy, iteration.nested, strict=False))
        for event in inner
        if event.args.external_id is not None
    }
    launched_in = iteration.launched_in if anatomy else {}
    return [
        launched_in.get(kernel.args.correlation or -1, by_id.get(kernel.args.external_id or -1))
        for kernel in iteration.kernels
    ]


def _rows(parts: Sequence[Part], scale: float, event_s: float) -> list[ProfileRow]:
    """Sum the parts of each operator in each module: time = seconds * scale - events * event_s."""
    alike: dict[tuple[str, str, Category], list[Part]] = {}
    for part in parts:
        key = (part.operator.name, part.operator.module, part.operator.category)
        alike.setdefault(key, []).append(part)
    rows = []
    for (name, module, category), members in alike.items():
        seconds = sum(m.seconds * scale - m.events * event_s for m in members)
        known = [m for m in members if m.operator.macs is not None]
        rows.append(
            ProfileRow(
                operator=name,
                module=module,
                category=category,
                calls=max(round(sum(m.calls for m in members)), 1),
                time_s=max(seconds, 0.0),
                macs=round(sum((m.operator.macs or 0) * m.calls for m in known)) if known else None,
                bytes=round(sum(m.operator.bytes * m.calls for m in members)) or None,
            )
        )
    return rows


def _sync_s(iteration: Iteration) -> float:
    """Seconds from the end of the last kernel to the end of the call that waited for it."""
    if not iteration.kernels:
        return 0.0
    return max(iteration.mark.end_s - max(kernel.end_s for kernel in iteration.kernels), 0.0)


def _of_gpu(
    iterations: Sequence[Iteration], waterfall: Waterfall, sm_count: int | None
) -> Utilisation:
    wall_s = sum(iteration.mark.seconds for iteration in iterations)
    kernels = [kernel for iteration in iterations for kernel in iteration.kernels]
    return Utilisation(
        busy=sum(union_s(iteration.kernels) for iteration in iterations) / wall_s,
        busy_corrected=waterfall.busy_s / waterfall.plain_s,
        sm_fill=_weighted([(kernel, _fill(kernel, sm_count)) for kernel in kernels]),
        occupancy=_weighted([(kernel, _occupancy(kernel)) for kernel in kernels]),
    )


def _fill(kernel: Event, sm_count: int | None) -> float | None:
    """The share of multiprocessors that the kernel fills: min(blocks in the grid / sm_count, 1)."""
    if not kernel.args.grid or not sm_count:
        return None
    return min(math.prod(kernel.args.grid) / sm_count, 1.0)


def _occupancy(kernel: Event) -> float | None:
    percent = kernel.args.occupancy_percent
    return None if percent is None else percent / 100


def _weighted(values: Sequence[tuple[Event, float | None]]) -> float | None:
    """Mean of the known values, weighted by the seconds of their kernels; None if none is known."""
    known = [(event.seconds, value) for event, value in values if value is not None]
    total_s = sum(seconds for seconds, _ in known)
    return sum(seconds * value for seconds, value in known) / total_s if total_s else None


def _unknown(event: Event) -> Operator:
    """An operator for an event whose module is not known; its category comes from its name."""
    return Operator(event.name.removeprefix("aten::"), "", kernel_category(event.name), None, 0)

"""A profiler's trace, as Chrome and Perfetto show it, cut into iterations. Pure functions.

Times are microseconds there and seconds here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

MARK = "bench:iteration"
OPERATORS, KERNELS = ("cpu_op",), ("kernel", "gpu_memcpy", "gpu_memset")
MICRO = 1e-6
# What torch.compile puts around its kernels: no work of its own.
WRAPPERS = re.compile(
    r"Torch-Compiled Region|TorchDynamo|CompiledFxGraph|## Call|Inductor|Pregraph|AOTDispatcher"
)


class Arguments(msgspec.Struct, frozen=True):
    """What the profiler says of an event besides its times; of kernels, how they are launched."""

    external_id: int | None = msgspec.field(name="External id", default=None)
    grid: list[int] | None = None
    occupancy_percent: float | None = msgspec.field(name="est. achieved occupancy %", default=None)


class RawEvent(msgspec.Struct, frozen=True):
    """One line of a trace; others than complete events have no duration."""

    ph: str
    name: str = ""
    cat: str = ""
    ts: float = 0.0
    dur: float = 0.0
    tid: int | str = 0
    args: Arguments | None = None


class _File(msgspec.Struct, frozen=True):
    events: list[msgspec.Raw] = msgspec.field(name="traceEvents")


class Event(NamedTuple):
    """Something that took from `start_s` to `end_s`."""

    name: str
    start_s: float
    end_s: float
    thread: str
    args: Arguments

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end_s - self.start_s


class Iteration(NamedTuple):
    """One profiled call: the operators that the network itself calls, in order, and its kernels.

    `nested` are, for each operator, the events inside it, itself first; `wrappers` is how many
    events stood around operators, as those of torch.compile do.
    """

    mark: Event
    operators: list[Event]
    nested: list[list[Event]]
    kernels: list[Event]
    wrappers: int = 0

    @property
    def events(self) -> int:
        """All that the profiler wrote down on the host, the mark included."""
        return 1 + self.wrappers + sum(map(len, self.nested))


class TraceError(Exception):
    """The trace is empty, cut off, or does not have what it must."""


def read(content: bytes) -> list[Iteration]:
    """The iterations in a trace. Raises TraceError where there are none."""
    events = list(_events(content))
    marks = [e for kind, e in events if kind == "user_annotation" and e.name == MARK]
    if not marks:
        raise TraceError("the trace has no iterations in it")
    marks.sort(key=lambda mark: mark.start_s)
    host = sorted((e for kind, e in events if kind in OPERATORS), key=_outer_first)
    kernels = sorted((e for kind, e in events if kind in KERNELS), key=_outer_first)
    return [_iteration(mark, host, kernels) for mark in marks]


def _events(content: bytes) -> Iterator[tuple[str, Event]]:
    try:
        lines = msgspec.json.decode(content, type=_File).events
        for line in lines:
            try:
                raw = msgspec.json.decode(line, type=RawEvent)
            except msgspec.ValidationError:
                continue  # of a kind that we do not read
            if raw.ph == "X":
                end = (raw.ts + raw.dur) * MICRO
                arguments = raw.args or Arguments()
                yield raw.cat, Event(raw.name, raw.ts * MICRO, end, str(raw.tid), arguments)
    except msgspec.DecodeError as error:
        raise TraceError(f"the trace cannot be read: {error}") from error


def _iteration(mark: Event, host: Sequence[Event], kernels: Sequence[Event]) -> Iteration:
    inside = [e for e in host if e.thread == mark.thread and within(e, mark)]
    wrappers = [e for e in inside if WRAPPERS.match(e.name)]
    operators: list[Event] = []
    nested: list[list[Event]] = []
    for event in inside:
        if WRAPPERS.match(event.name):
            continue
        if operators and event.start_s < operators[-1].end_s:
            nested[-1].append(event)
        else:
            operators.append(event)
            nested.append([event])
    running = [e for e in kernels if within(e, mark)]
    return Iteration(mark, operators, nested, running, len(wrappers))


def has_kernels(iterations: Sequence[Iteration]) -> bool:
    """Whether work of a GPU is in them."""
    return any(iteration.kernels for iteration in iterations)


def within(event: Event, outer: Event) -> bool:
    """Whether `event` begins while `outer` lasts."""
    return outer.start_s <= event.start_s < outer.end_s


def union_s(events: Sequence[Event]) -> float:
    """Seconds in which at least one of `events` (sorted by start) ran."""
    total, until = 0.0, float("-inf")
    for event in events:
        if event.end_s > until:
            total += event.end_s - max(event.start_s, until)
            until = event.end_s
    return total


def _outer_first(event: Event) -> tuple[float, float]:
    return (event.start_s, -event.end_s)

"""A profiler's trace in Chrome's trace format, cut into iterations. Pure functions.

The trace has times in microseconds; this module returns seconds.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

MARK = "bench:iteration"
OPERATORS, KERNELS = ("cpu_op",), ("kernel", "gpu_memcpy", "gpu_memset")
LAUNCHES = ("cuda_runtime", "cuda_driver")
BACKWARD_EVENT, BACKWARD = "autograd::engine::evaluate_function: ", "autograd"
MICRO = 1e-6
# Events that torch.compile puts around its kernels; they do no work themselves.
WRAPPERS = re.compile(
    r"Torch-Compiled Region|TorchDynamo|CompiledFxGraph|## Call|Inductor|Pregraph|AOTDispatcher"
)


class Arguments(msgspec.Struct, frozen=True):
    """Arguments of an event; `grid` and `occupancy_percent` are those of a kernel launch.

    Operators have a `Sequence number` while gradients are recorded: that of the next node of the
    graph. An event of the backward pass has that of its node.

    A kernel has the `External id` of the operator that launched it, in most releases of torch. It
    always has the `correlation` of the call of CUDA that launched it.
    """

    external_id: int | None = msgspec.field(name="External id", default=None)
    correlation: int | None = None
    sequence: int | None = msgspec.field(name="Sequence number", default=None)
    grid: list[int] | None = None
    occupancy_percent: float | None = msgspec.field(name="est. achieved occupancy %", default=None)


class RawEvent(msgspec.Struct, frozen=True):
    """One entry of a trace; only complete events (`ph` is "X") have a duration."""

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
    """A named interval from `start_s` to `end_s` on one thread."""

    name: str
    start_s: float
    end_s: float
    thread: str
    args: Arguments

    @property
    def seconds(self) -> float:
        """The duration: end_s - start_s."""
        return self.end_s - self.start_s


class Iteration(NamedTuple):
    """One profiled call: the outermost operators in order, and the kernels.

    `nested` holds for each operator a list of the operator and all events inside it. `wrappers`
    counts the events that torch.compile puts around operators. `launched_in` gives for each
    correlation of a kernel the place of the operator that was running at the launch.
    """

    mark: Event
    operators: list[Event]
    nested: list[list[Event]]
    kernels: list[Event]
    wrappers: int = 0
    launched_in: Mapping[int, int] = MappingProxyType({})

    @property
    def events(self) -> int:
        """The number of events that the profiler recorded on the host, including the mark."""
        return 1 + self.wrappers + sum(map(len, self.nested))


class TraceError(Exception):
    """The trace is empty, truncated or inconsistent."""


def read(content: bytes) -> list[Iteration]:
    """The iterations in a trace. Raises TraceError if it has none or cannot be decoded."""
    events = list(_events(content))
    marks = [e for kind, e in events if kind == "user_annotation" and e.name == MARK]
    if not marks:
        raise TraceError("the trace has no iterations in it")
    marks.sort(key=lambda mark: mark.start_s)
    host, kernels, launches = (
        sorted((e for kind, e in events if kind in wanted), key=_outer_first)
        for wanted in (OPERATORS, KERNELS, LAUNCHES)
    )
    return [
        _iteration(mark, *(_started_in(mark, each) for each in (host, kernels, launches)))
        for mark in marks
    ]


def _events(content: bytes) -> Iterator[tuple[str, Event]]:
    try:
        lines = msgspec.json.decode(content, type=_File).events
        for line in lines:
            try:
                raw = msgspec.json.decode(line, type=RawEvent)
            except msgspec.ValidationError:
                continue  # an entry of a type that is not needed here
            if raw.ph == "X":
                end = (raw.ts + raw.dur) * MICRO
                arguments = raw.args or Arguments()
                name = raw.name.replace(BACKWARD_EVENT, f"{BACKWARD}::")
                yield raw.cat, Event(name, raw.ts * MICRO, end, str(raw.tid), arguments)
    except msgspec.DecodeError as error:
        raise TraceError(f"the trace cannot be read: {error}") from error


def _started_in(mark: Event, events: Sequence[Event]) -> Sequence[Event]:
    """The events with mark.start_s <= start_s < mark.end_s; `events` are sorted by start."""
    first = bisect_left(events, mark.start_s, key=_start)
    return events[first : bisect_left(events, mark.end_s, lo=first, key=_start)]


def _iteration(
    mark: Event, host: Sequence[Event], kernels: Sequence[Event], launches: Sequence[Event]
) -> Iteration:
    threads = {e.thread for e in host if e.name.startswith(BACKWARD)}  # the host waits for them
    own = [e for e in host if e.thread in {mark.thread, *threads}]
    operators: list[Event] = []
    nested: list[list[Event]] = []
    for event in own:
        if WRAPPERS.match(event.name):
            continue
        if operators and event.start_s < operators[-1].end_s:
            nested[-1].append(event)
        else:
            operators.append(event)
            nested.append([event])
    return Iteration(
        mark,
        operators,
        nested,
        list(kernels),
        len(own) - sum(map(len, nested)),
        _launched_in([e for e in launches if e.thread in {mark.thread, *threads}], operators),
    )


def _launched_in(launches: Sequence[Event], operators: Sequence[Event]) -> dict[int, int]:
    """Place of the operator in which each launch started, by the launch's correlation."""
    places: dict[int, int] = {}
    for launch in launches:
        place = bisect_right(operators, launch.start_s, key=_start) - 1
        is_inside = place >= 0 and launch.start_s < operators[place].end_s
        if is_inside and launch.args.correlation is not None:
            places[launch.args.correlation] = place
    return places


def has_kernels(iterations: Sequence[Iteration]) -> bool:
    """Whether the iterations contain GPU work."""
    return any(iteration.kernels for iteration in iterations)


def union_s(events: Sequence[Event]) -> float:
    """Length of the union of `events` in seconds; `events` must be sorted by start."""
    total, until = 0.0, float("-inf")
    for event in events:
        if event.end_s > until:
            total += event.end_s - max(event.start_s, until)
            until = event.end_s
    return total


def _start(event: Event) -> float:
    return event.start_s


def _outer_first(event: Event) -> tuple[float, float]:
    return (event.start_s, -event.end_s)

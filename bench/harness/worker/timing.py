"""The timed loop: the only module that takes latency samples."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.devices import clocks
from bench.harness.plan import calls_per_sample
from bench.harness.protocol.messages import CaseFacts, Evaluate, Evaluated, Export
from bench.records import Operator, Stage, Stages

if TYPE_CHECKING:
    from bench.backends.runtime import RuntimeProfile

Clock = Callable[[], float]

MIN_WARM_UP_CALLS = 4  # two windows of at least two calls each
MAX_WARM_UP_FACTOR = 3.0  # times the planned seconds
GROUP_TRIALS = 5
SHORTEST_S = 1e-9
STEADY_TOLERANCE = 0.02  # relative


class ClockError(Exception):
    """The device's clock went backwards, so its times are not durations."""


class Unseen(NamedTuple):
    """Seconds of calls on images that the network never saw, and of calls on known ones in turns.

    `notes` are sentences for the user where this was not done.
    """

    unseen_s: list[float]
    repeated_s: list[float]
    notes: Sequence[str] = ()


class Changed(NamedTuple):
    """Settings of the process that changed while a network was timed: `from 2 to 1` by name.

    The network changed those `by_network`; it is not known who changed the `unattributed` ones.
    """

    by_network: dict[str, str]
    unattributed: dict[str, str]


def _no_change() -> Changed:
    return Changed({}, {})


def _nothing(now: Clock, typical_s: float) -> Unseen:
    return Unseen([], [])


def _no_settings() -> Mapping[str, str | int]:
    return {}


def _no_file(facts: CaseFacts, wanted: Export) -> CaseFacts:
    """Write nothing: a simulated network is no file."""
    return facts


def _no_images(wanted: Evaluate, classified: Callable[[int], object]) -> Evaluated:
    """Raise TypeError: a simulated network, or a training step, classifies no images."""
    raise TypeError("it does not classify images")


class Step(NamedTuple):
    """A part of a pipeline, by name; the steps of a call run one after another."""

    name: str
    run: Callable[[], object]


class Pipeline(Protocol):
    """What a user's program does with an image, from its pixels to the answer in its memory."""

    @property
    def steps(self) -> Sequence[Step]:
        """The steps in order."""

    def close(self) -> None:
        """Give the network the images back that it had before."""


def _no_pipeline() -> Pipeline:
    """Raise TypeError: a training step has no pipeline."""
    raise TypeError("it has no pipeline")


class Prepared(NamedTuple):
    """A network that is ready to be timed.

    - `call` runs one inference, or makes one training step.
    - `inspect` checks the first output, returns the facts of the case, and raises where the output
      is wrong.
    - `explained` returns an error of the first call with what the user can do about it.
    - `compare` raises where a later output differs from the first one.
    - `changed` returns the settings of the process that have changed since `inspect`; it may run
      the network once more.
    - `operators` runs the network once more and lists its operators in order; the list is empty
      where the backend does not run the operators one by one, unless it has a profiler of its own.
    - `profiler` returns that profiler and the number of nodes that are executed; None if the
      backend has none.
    - `unseen` calls the network on images that it never saw, checks its answers, and times the
      calls; it takes a clock and the median seconds of a timed call.
    - `settings` returns the settings of the runtime that executes the network.
    - `export` writes the exported network to a file, with the facts of the case in it; it returns
      the facts, with what it found out on images of the user.
    - `evaluate` classifies images; it calls its second argument with the number of those done.
    - `pipeline` returns what is done with an image before and after the network.
    """

    call: Callable[[], object]
    inspect: Callable[[object], CaseFacts]
    explained: Callable[[Exception], Exception] = lambda error: error
    compare: Callable[[object], None] = lambda output: None
    changed: Callable[[], Changed] = _no_change
    operators: Callable[[], Sequence[Operator]] = tuple
    profiler: Callable[[], tuple[RuntimeProfile, int] | None] = lambda: None
    unseen: Callable[[Clock, float], Unseen] = _nothing
    settings: Callable[[], Mapping[str, str | int]] = _no_settings
    export: Callable[[CaseFacts, Export], CaseFacts] = _no_file
    evaluate: Callable[[Evaluate, Callable[[int], object]], Evaluated] = _no_images
    pipeline: Callable[[], Pipeline] = _no_pipeline


class StageClock:
    """Adds up the seconds of each stage, and announces each stage when it begins.

    A stage may be entered several times; its seconds add up.
    """

    def __init__(self, now: Clock, announce: Callable[[Stage], None]) -> None:
        self._now = now
        self._announce = announce
        self._seconds: dict[str, float] = {}
        self.current: Stage = "start"

    @contextlib.contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Add the seconds of the `with` block to stage `name`."""
        self.enter(name)
        started = self._now()
        yield
        self.add(name, self._now() - started)

    def enter(self, name: Stage) -> None:
        """Make `name` the current stage and announce it; adds no seconds."""
        self.current = name
        self._announce(name)

    def add(self, name: Stage, seconds: float) -> None:
        """Add `seconds` to stage `name`. Raises ClockError for negative seconds."""
        if seconds < 0:
            raise ClockError(f"{name} took {seconds:g} s by the clock of the device")
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @property
    def stages(self) -> Stages:
        """The seconds of every stage so far."""
        return Stages(**self._seconds)


def timed_call(call: Callable[[], object], now: Clock) -> float:
    """Return the seconds from the start of `call` to its synchronised end."""
    started = now()
    call()
    return now() - started


class WarmUp(NamedTuple):
    """The seconds of each warm-up call, whether the last calls were steady, and the last output."""

    durations_s: list[float]
    steady: bool
    output: object = None


def warm_up(call: Callable[[], object], now: Clock, seconds: float) -> WarmUp:
    """Run `call` until it is steady (see `is_steady`, with a window of `seconds` / 2).

    The warm-up lasts at least `seconds` and MIN_WARM_UP_CALLS calls. It gives up when it has lasted
    MAX_WARM_UP_FACTOR * `seconds` and 2 * MIN_WARM_UP_CALLS calls.
    """
    durations: list[float] = []
    while True:
        output = None  # frees the memory of the output before
        started = now()
        output = call()
        durations.append(now() - started)
        spent = sum(durations)
        if len(durations) < MIN_WARM_UP_CALLS or spent < seconds:
            continue
        if is_steady(durations, seconds / 2):
            return WarmUp(durations, True, output)
        if spent >= MAX_WARM_UP_FACTOR * seconds and len(durations) >= 2 * MIN_WARM_UP_CALLS:
            return WarmUp(durations, False, output)


def is_steady(durations: Sequence[float], window_s: float) -> bool:
    """Whether calls no longer get faster.

    The rule is median(last w) >= (1 - STEADY_TOLERANCE) * median(w calls before them), where w is
    `window_s` / (seconds of the last call), at least 2 and at most half of all calls.
    """
    window = max(2, min(round(window_s / durations[-1]), len(durations) // 2))
    last, before = durations[-window:], durations[-2 * window : -window]
    return statistics.median(last) >= (1 - STEADY_TOLERANCE) * statistics.median(before)


class Timed(NamedTuple):
    """The start of a block (monotonic seconds), the seconds of each iteration, the last output.

    `paused_s` are the seconds in which the block waited on purpose. `parts_s`, `late` and `dropped`
    are as in a Measurement.
    """

    start_s: float
    samples_s: list[float]
    output: object = None
    paused_s: float = 0.0
    parts_s: Mapping[str, list[float]] = MappingProxyType({})
    late: int | None = None
    dropped: int | None = None


def timed_block(call: Callable[[], object], now: Clock, iterations: int) -> Timed:
    """Time `iterations` calls one by one, each to its synchronised end; keep the last output.

    Raises ClockError where a call took negative time.
    """
    samples = [0.0] * iterations
    with no_garbage_collection():
        start = clocks.monotonic()
        for i in range(iterations - 1):
            started = now()
            call()
            samples[i] = now() - started
        started = now()
        output = call()
        samples[-1] = now() - started
    check_clock(samples)
    return Timed(start, samples, output)


def check_clock(samples_s: Sequence[float]) -> None:
    """Raise ClockError where a call took negative time."""
    if min(samples_s) < 0:
        raise ClockError(f"an iteration took {min(samples_s):g} s by the clock of the device")


def in_groups(call: Callable[[], object], calls: int) -> Callable[[], object]:
    """Return a function that runs `call` so many times, and returns the last output."""
    if calls == 1:
        return call

    def run() -> object:
        for _ in range(calls - 1):
            call()
        return call()

    return run


def fastest_call(call: Callable[[], object], now: Clock, durations_s: Sequence[float]) -> float:
    """Return the seconds of the fastest call so far; of a short one, its mean in groups.

    A busy machine and the clock itself make a single short call look several times as long.
    """
    fastest_s = max(min(durations_s), SHORTEST_S)
    for _ in range(GROUP_TRIALS):
        if (calls := calls_per_sample(fastest_s)) > 1:
            group_s = timed_call(in_groups(call, calls), now)
            fastest_s = max(min(fastest_s, group_s / calls), SHORTEST_S)
    return fastest_s


def pipelined_block(call: Callable[[], object], now: Clock, iterations: int) -> float:
    """Queue `iterations` calls, wait once for all; return total seconds / `iterations`."""
    with no_garbage_collection():
        started = now()
        for _ in range(iterations):
            call()
        return (now() - started) / iterations


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable Python's garbage collector, so that no collection falls into a sample."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

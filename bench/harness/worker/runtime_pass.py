"""Profiles calls with the profiler of a runtime, which times each node of an exported network."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from bench.analysis.profile.attribution import NAMESPACE, attributed
from bench.analysis.profile.trace import MARK, Arguments, Event, Iteration, TraceError
from bench.backends.runtime import NodeTime, RuntimeProfile
from bench.devices import Session
from bench.devices.host import own_usage
from bench.harness.worker.profiled_pass import Recorder
from bench.harness.worker.timing import timed_block, timed_call
from bench.records import Operator

CHAIN_CALLS, CHAIN_REPEATS = 50, 5
MOST_EVENTS = 100_000  # of a runtime's profile, which is in memory at once


class RuntimeRecorder(Recorder):
    """The profiler of a runtime. `operators` are those of the network in torch.

    A runtime's profile has the mean times of its nodes, so all iterations have the same ones.
    """

    def __init__(
        self, profile: RuntimeProfile, nodes: int, operators: Sequence[Operator], session: Session
    ) -> None:
        self._profile = profile
        self._operators = operators
        self._session = session
        self._seconds: list[float] = []
        self.most_calls = MOST_EVENTS // max(nodes, 1)

    def block(self, count: int) -> tuple[list[float], int]:
        """Call the network, after a call that does not count."""
        profiler = self._profile.profiler
        profiler()
        profiler.count(on=True)
        before = own_usage().page_faults
        block = timed_block(profiler, self._session.now, count)
        faulted = own_usage().page_faults - before
        profiler.count(on=False)
        self._seconds += block.samples_s
        return block.samples_s, faulted

    def recorded(self) -> tuple[list[Iteration], Sequence[Operator]]:
        """Return the calls of all blocks, with the nodes of the runtime."""
        nodes = self._profile.profiler.end()
        names = [(node.name, node.operator) for node in nodes]
        return _iterations(self._seconds, nodes), attributed(names, self._operators)

    def event_cost_s(self) -> float:
        """Return the seconds that the profiler adds per node, from a chain of tiny nodes.

        cost = (profiled seconds - plain seconds) / nodes, the median of CHAIN_REPEATS, at least 0.
        """
        plain, profiled, now = *self._profile[1:], self._session.now
        for call in (plain, profiled):
            timed_call(call, now)
        profiled.count(on=True)
        blocks = [
            [statistics.median(timed_block(call, now, CHAIN_CALLS).samples_s) for call in both]
            for both in CHAIN_REPEATS * [(plain, profiled)]
        ]
        if not (nodes := profiled.end()):
            raise TraceError("the profile of the runtime has no nodes")
        return max(statistics.median(b - a for a, b in blocks) / len(nodes), 0.0)

    def close(self) -> None:
        """Remove the files of the profilers."""
        self._profile.profiler.close()
        self._profile.chain_profiler.close()


def _iterations(seconds: Sequence[float], nodes: Sequence[NodeTime]) -> list[Iteration]:
    """Return calls as iterations whose operators are the nodes, one after the other."""
    ends = list(itertools.accumulate(node.seconds for node in nodes))
    events = [
        Event(f"{NAMESPACE}::{node.operator}", end - node.seconds, end, "", Arguments())
        for node, end in zip(nodes, ends, strict=True)
    ]
    nested = [[event] for event in events]
    marks = (Event(MARK, 0.0, each, "", Arguments()) for each in seconds)
    return [Iteration(mark, events, nested, []) for mark in marks]

"""Lines on times: the session against bare loops, and whether a graph computes at all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from bench.backends import BACKENDS
from bench.diagnostics.hardware.instruments import NETWORKS, Instruments, Loaded
from bench.diagnostics.hardware.line import Line, impossible, judged
from bench.diagnostics.hardware.spread import within
from bench.harness.worker.timing import timed_block
from bench.records import Case

PAIRS = 12
PAIRS_S = 15.0  # no pair begins later
CALLS = 8
BLOCK_S = 0.5  # fewer calls where CALLS would take longer
WARM_UP_CALLS = 5
TOLERATED = 0.05  # of the ratio session / bare loop
GRAPH_ERROR = 0.01
NO_DEVICE_CLOCK = "the device has no clock of its own: the host's time is the only one"
DEFAULT_BACKEND = Case("", "").backend
Seconds = Callable[[], float]


def lines(instruments: Instruments) -> Iterator[Line]:
    """Yield host, device and graph time of each network."""
    graphs = [name for name, backend in BACKENDS.items() if backend.replays_graph]
    for network in NETWORKS:
        eager = instruments.load(network, DEFAULT_BACKEND)
        for _ in range(WARM_UP_CALLS):
            eager.call()
        yield host_time(network, instruments, eager)
        yield device_time(f"device time of {network}", instruments, eager)
        for backend in graphs:
            yield from _graph(network, backend, instruments, eager)


def _graph(network: str, backend: str, instruments: Instruments, eager: Loaded) -> Iterator[Line]:
    time, answer = f"{backend} time of {network}", f"{backend} answer of {network}"
    if lack := instruments.missing(backend):
        yield impossible(time, lack)
        yield impossible(answer, lack)
        return
    graph = instruments.load(network, backend)
    yield device_time(time, instruments, graph)
    yield graph_answer(answer, graph, eager)


def host_time(network: str, instruments: Instruments, loaded: Loaded) -> Line:
    """Compare the session's host time of a call with a bare loop."""
    session = instruments.session
    calls = _calls(instruments, loaded)

    def ours() -> float:
        return statistics.fmean(timed_block(loaded.call, session.now, calls).samples_s)

    pairs = _pairs(instruments, ours, lambda: instruments.host_s(loaded.call, calls))
    return compared(f"host time of {network}", pairs)


def device_time(name: str, instruments: Instruments, loaded: Loaded) -> Line:
    """Compare the session's device time of a call with bare CUDA events."""
    if instruments.device_s(loaded.call, 1) is None:
        return impossible(name, NO_DEVICE_CLOCK)
    session = instruments.session

    def ours() -> float:
        times = session.device_times(loaded.call, CALLS)
        return statistics.fmean(times) if times else 0.0

    def bare() -> float:
        return instruments.device_s(loaded.call, CALLS) or 0.0

    return compared(name, _pairs(instruments, ours, bare))


def graph_answer(name: str, graph: Loaded, eager: Loaded) -> Line:
    """Give the graph new images; its output must follow them as the network's own output does."""
    import torch

    before = graph.call().clone()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(graph.images.shape, generator=generator)
    for loaded in (graph, eager):
        loaded.images.copy_(images)
    after, expected = graph.call().clone(), eager.call()
    change = float((expected - before).abs().max())
    error = float((after - expected).abs().max()) / (change or 1.0)
    return judged(
        name,
        error <= GRAPH_ERROR,
        seen=f"error {error:.2g} on new images",
        limit=f"at most {GRAPH_ERROR:g} of what the new images change",
        why="the replay does not compute what the network computes",
        raw={"error": error, "change": change},
    )


def _calls(instruments: Instruments, loaded: Loaded) -> int:
    """Return how many calls are timed together: CALLS, or fewer that take about BLOCK_S."""
    return max(1, min(CALLS, int(BLOCK_S / instruments.host_s(loaded.call, 1))))


def _pairs(instruments: Instruments, ours: Seconds, bare: Seconds) -> list[tuple[float, float]]:
    """Time both in turns; every second pair in reverse order."""
    pairs: list[tuple[float, float]] = []
    ends_at = instruments.seconds() + PAIRS_S
    for number in range(PAIRS):
        if pairs and instruments.seconds() > ends_at:
            break
        if number % 2:
            second = bare()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, bare()))
    return pairs


def compared(name: str, pairs: Sequence[tuple[float, float]]) -> Line:
    """Judge pairs of seconds: the session's, the bare loop's. The limit is on the median ratio."""
    ratios = [ours / bare if bare > 0 else 0.0 for ours, bare in pairs]
    ours_s, bare_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return within(
        name,
        ratios,
        (1 - TOLERATED, 1 + TOLERATED),
        seen=f"{1e3 * ours_s:.3f} ms, bare loop {1e3 * bare_s:.3f} ms, "
        f"ratio {statistics.median(ratios):.3f}",
        limit=f"ratio within {1 - TOLERATED:g} to {1 + TOLERATED:g}",
        why="the session and the bare loop do not time the same",
        raw={"pairs_s": [list(pair) for pair in pairs]},
    )

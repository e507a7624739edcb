"""The start of a process that has imported nothing yet: imports, network or file, first call.

The template of such a round has not imported torch. Each round is one start, so one sample. The
network was checked before, in another process; here only its first answer and structure are.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import structs

from bench.analysis.conditions import conditions_over
from bench.backends import BACKENDS
from bench.devices import Driver, Session, clocks
from bench.devices.cpu import import_packages
from bench.devices.host import Host
from bench.devices.kernels import Calibration, Kernels, calibrate
from bench.harness.protocol.channel import Channel
from bench.harness.protocol.messages import (
    Block,
    CaseFacts,
    Entered,
    Finished,
    Job,
    Ready,
    RunBlock,
)
from bench.harness.worker.timing import StageClock
from bench.records import Check, Cost, Reading

IMPORT, DEVICE, BUILD, LOAD, FIRST = "import", "device", "build", "load", "first call"


READINGS = 20  # of the kernels, after the start; a tenth of a second on a CPU


class Start(NamedTuple):
    """A process that has started: its session, the seconds of each part, and the facts."""

    session: Session
    parts_s: dict[str, float]
    facts: CaseFacts
    readings: tuple[Reading, Reading]
    start_s: float


def serve(channel: Channel, job: Job, driver: Driver, clock: StageClock) -> None:
    """Start once, then send the sample in the first block, and Finished after it."""
    with contextlib.ExitStack() as stack:
        start = (_real if driver.runs_torch else _scripted)(job, driver, clock, stack)
        session, total_s = start.session, sum(start.parts_s.values())
        kernels = session.kernels()
        memory = session.memory()
        clock.current = "timed"
        channel.send(Entered("timed"))
        channel.send(Ready(total_s, memory.largest, total_s))
        while isinstance(channel.receive_request(), RunBlock):
            asked_s = session.now()
            compute_s, memory_s = settled(kernels, session.now)
            counted_s = session.now() - asked_s if session.script is None else None
            made = Block(start.start_s, [total_s], compute_s, memory_s, counted_s=counted_s)
            parts_s = {name: [seconds] for name, seconds in start.parts_s.items()}
            channel.send(structs.replace(made, parts_s=parts_s))
        conditions = conditions_over([start.readings])
        channel.send(
            Finished(
                stages=clock.stages,
                facts=start.facts,
                discarded=0,
                # A start waits for the disk, which is no fault
                conditions=structs.replace(conditions, idle_s=[]),
                steady=None,
                settings=session.settings(),
            )
        )


def settled(kernels: Kernels, now: Callable[[], float]) -> Calibration:
    """Return what the kernels take once they are warm: the medians of the later half of READINGS.

    In a process that has only just started, the first readings say more of it than of the machine.
    """
    later = [calibrate(kernels, now) for _ in range(READINGS)][READINGS // 2 :]
    return Calibration(*map(statistics.median, zip(*later, strict=True)))


def _scripted(job: Job, driver: Driver, _: StageClock, stack: contextlib.ExitStack) -> Start:
    """Return the start that the script of a simulated device tells."""
    session = stack.enter_context(driver.session(job.case))
    assert session.script is not None
    before = session.sense()
    parts_s = dict(session.script.cold_start(job.case, job.round))
    session.script.rest(sum(parts_s.values()))
    session.script.check()
    facts = job.facts or CaseFacts(Check(), Cost(), job.case.case_id)
    return Start(session, parts_s, facts, (before, session.sense()), before.at_s)


def _real(job: Job, driver: Driver, clock: StageClock, stack: contextlib.ExitStack) -> Start:
    """Start a process of the case, and check its first answer.

    The process of an exported network needs no torch, so the import of torch is no part of it.
    Merging is none either: a network that is deployed is stored as merged.
    """
    case, facts = job.case, job.facts
    assert facts is not None
    backend, host = BACKENDS[case.backend], Host()
    if backend.exporters:
        driver.preload()
    before, start_s, parts = host.sense(), clocks.monotonic(), _Parts()
    with clock.stage("start"):
        with parts.part(IMPORT):
            if not backend.exporters:
                import_packages()
            backend.preload()
        with parts.part(DEVICE):
            session = stack.enter_context(driver.session(case))
            session.now()
    from bench.harness.worker import started  # imports torch

    network = started.load(job, facts, session, clock, parts.part)
    with clock.stage("first"), parts.part(FIRST):
        output = network.call()
        session.now()
    after = host.sense()
    with clock.stage("check"):
        facts = network.inspect(output)
    return Start(session, parts.seconds, facts, (before, after), start_s)


class _Parts:
    """The seconds of each part of the start."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the seconds of the `with` block to the part `name`."""
        began = clocks.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + clocks.monotonic() - began


Part = Callable[[str], contextlib.AbstractContextManager[None]]

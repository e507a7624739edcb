"""One case in one round: its child process, and the blocks that the child has timed."""

from __future__ import annotations

from typing import TypeVar

from bench.devices import clocks
from bench.harness import plan as plans
from bench.harness.plan import MOST_SAMPLES, is_slow
from bench.harness.protocol.messages import (
    Block,
    Finish,
    Finished,
    Job,
    Observe,
    Observed,
    Ready,
    RunBlock,
    Wait,
)
from bench.harness.scheduler.child import ChildProcess
from bench.records import Neighbour
from bench.records.scenario import PACE, SUSTAINED, TIGHT

T = TypeVar("T")

LEAST_PACED = 8  # answers of a block at a fixed rate: at its start, no image waits
DEADLINE_FACTOR = 20.0  # a block may take this many times its expected duration


class CaseRound:
    """Measures one case in one round through its child process.

    Methods that talk to the child raise CaseError where the child fails.
    """

    def __init__(
        self,
        job: Job,
        child: ChildProcess,
        earlier: list[list[float]],
        calls_per_sample: int | None = None,
    ) -> None:
        self.job = job
        self.case = job.case
        self.earlier = earlier  # seconds per iteration, a list per earlier round, for the progress
        self.calls_per_sample = calls_per_sample or 1  # as in the first round of the case
        self._is_settled = calls_per_sample is not None
        self.iteration_s = 0.0
        self.peak_bytes: int | None = None
        self.blocks: list[Block] = []
        self.waited_s = 0.0  # for all blocks, by the clock of this process
        self.disturbed_by: list[Neighbour] = []
        self._child = child

    @property
    def pid(self) -> int:
        """The number of the child process."""
        return self._child.pid

    @property
    def samples(self) -> list[float]:
        """Seconds of every iteration of this round so far."""
        return [sample for block in self.blocks for sample in block.samples_s]

    @property
    def rested_s(self) -> float:
        """Seconds for which the blocks waited for a quiet machine."""
        return sum(block.rested_s for block in self.blocks)

    @property
    def counted_s(self) -> float | None:
        """Seconds of all blocks by the clock of the child; None for a scripted clock."""
        spans = [block.counted_s for block in self.blocks]
        known = [each for each in spans if each is not None]
        return sum(known) if known and len(known) == len(spans) else None

    def is_slow(self) -> bool:
        """Whether an iteration is so long that each iteration is a block of its own."""
        return is_slow(self.job.plan, self.case.batch, self.iteration_s)

    def has_enough(self) -> bool:
        """Whether the round has as many samples and timed seconds as the plan asks for."""
        plan, samples = self.job.plan, self.samples
        if self.is_slow():
            return len(samples) >= plan.slow_samples
        timed_s = sum(self.case.when.span_s(each) for each in samples) * self.calls_per_sample
        return len(samples) >= plan.min_samples and (
            timed_s >= plan.timed_s or len(samples) >= MOST_SAMPLES
        )

    def await_ready(self) -> None:
        """Wait until the child has prepared and warmed up its network."""
        ready = self._answer(Ready, self.job.plan.deadline_s)
        self.iteration_s, self.peak_bytes = ready.iteration_s, ready.peak_bytes
        if not self._is_settled:
            self.calls_per_sample = self._grouped(ready.fastest_s)

    def time_block(self, wait: Wait | None = None) -> Block:
        """Ask the child to time one block of max(1, round(block_s / sample_s)) samples.

        A sample is `calls_per_sample` calls. A round has at most MOST_SAMPLES.

        The first call after a switch between processes is discarded, except for slow iterations.
        The child waits for a quiet machine first, as `wait` says. Returns the block.
        """
        sample_s = self.case.when.span_s(self.iteration_s) * self.calls_per_sample
        room = MOST_SAMPLES - len(self.samples)
        least = LEAST_PACED if self.case.when.kind == PACE else 1
        iterations = max(least, min(room, round(self.job.plan.block_s / sample_s)))
        discard = 0 if self.is_slow() else 1
        asked_s = clocks.monotonic()
        self._child.ask(RunBlock(iterations, discard, self.calls_per_sample, wait))
        expected = iterations * sample_s + discard * self.iteration_s
        rested_s = wait.most_s if wait else 0.0
        deadline_s = self.job.plan.deadline_s + DEADLINE_FACTOR * expected + rested_s
        block = self._answer(Block, deadline_s)
        self.waited_s += clocks.monotonic() - asked_s
        self.blocks.append(block)
        # The smallest one, since a stalled first call would make the later blocks too short.
        self.iteration_s = min(self.iteration_s, *block.samples_s)
        return block

    def finish(self) -> Finished:
        """End the timing; return the child's report."""
        self._child.ask(Finish())
        return self._answer(Finished, self.job.plan.deadline_s)

    def observe(self, seconds: float) -> Observed:
        """Ask the child, after its report, to read the chip's sensors for `seconds`."""
        self._child.ask(Observe(seconds))
        return self._answer(Observed, self.job.plan.deadline_s + 2 * seconds)

    def kill(self) -> None:
        """Kill the child process with the processes that it started."""
        self._child.kill()

    def end(self) -> None:
        """Wait until the child process has ended."""
        self._child.end()

    def _grouped(self, fastest_s: float) -> int:
        """Return how many calls make one sample; 1 where calls do not follow one another."""
        kind = self.case.when.kind
        if kind not in (TIGHT, SUSTAINED):
            return 1
        return plans.calls_per_sample(
            fastest_s, self.job.plan.timed_s if kind == SUSTAINED else 0.0
        )

    def _answer(self, kind: type[T], deadline_s: float) -> T:
        reply = self._child.answer(deadline_s)
        if not isinstance(reply, kind):
            message = f"expected {kind.__name__}, got {type(reply).__name__}"
            raise self._child.protocol_error(message)
        return reply

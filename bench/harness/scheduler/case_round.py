"""One case in one round: its child process, the blocks it has timed, and whether they suffice."""

from __future__ import annotations

from typing import TypeVar

from bench.harness.plan import is_slow
from bench.harness.protocol.messages import (
    Block,
    Finish,
    Finished,
    Job,
    Observe,
    Observed,
    Ready,
    RunBlock,
)
from bench.harness.scheduler.child import ChildProcess

T = TypeVar("T")

DEADLINE_FACTOR = 20.0  # times the expected duration of a block


class CaseRound:
    """A child whose blocks alternate with those of other cases. Its methods raise CaseError."""

    def __init__(self, job: Job, child: ChildProcess, earlier: list[float]) -> None:
        self.job = job
        self.case = job.case
        self.earlier = earlier  # samples of earlier rounds, for whoever shows progress
        self.iteration_s = 0.0
        self.peak_bytes: int | None = None
        self.blocks: list[Block] = []
        self._child = child

    @property
    def samples(self) -> list[float]:
        """Seconds of every iteration so far."""
        return [sample for block in self.blocks for sample in block.samples_s]

    def is_slow(self) -> bool:
        """Whether an iteration is so long that each is a block."""
        return is_slow(self.job.plan, self.case.batch, self.iteration_s)

    def has_enough(self) -> bool:
        """Whether the round has the samples and the seconds that the plan asks for."""
        plan, samples = self.job.plan, self.samples
        if self.is_slow():
            return len(samples) >= plan.slow_samples
        return len(samples) >= plan.min_samples and sum(samples) >= plan.timed_s

    def await_ready(self) -> None:
        """Wait until the network is prepared and warm."""
        ready = self._answer(Ready, self.job.plan.deadline_s)
        self.iteration_s, self.peak_bytes = ready.iteration_s, ready.peak_bytes

    def time_block(self) -> None:
        """Have one block timed; the first call after a switch between processes is discarded."""
        iterations = max(1, round(self.job.plan.block_s / self.iteration_s))
        discard = 0 if self.is_slow() else 1
        self._child.ask(RunBlock(iterations, discard))
        expected = (iterations + discard) * self.iteration_s
        block = self._answer(Block, self.job.plan.deadline_s + DEADLINE_FACTOR * expected)
        self.blocks.append(block)
        self.iteration_s = min(self.iteration_s, *block.samples_s)  # the first call may stall

    def finish(self) -> Finished:
        """Have the child report."""
        self._child.ask(Finish())
        return self._answer(Finished, self.job.plan.deadline_s)

    def observe(self, seconds: float) -> Observed:
        """Have the child, which has reported, read its chip's sensors for so long."""
        self._child.ask(Observe(seconds))
        return self._answer(Observed, self.job.plan.deadline_s + 2 * seconds)

    def end(self) -> None:
        """Wait until the child is gone."""
        self._child.end()

    def _answer(self, kind: type[T], deadline_s: float) -> T:
        reply = self._child.answer(deadline_s)
        if not isinstance(reply, kind):
            message = f"expected {kind.__name__}, got {type(reply).__name__}"
            raise self._child.protocol_error(message)
        return reply

"""The parent: schedules rounds and turns, and puts what comes of them on record.

A round is one template process, and one child of it per case. Children take turns in short
blocks, in an order that reverses each turn, so that a drift of the machine hits all alike.
While a child is timing, the parent sleeps in a system call.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
import psutil

from bench.errors import UsageError
from bench.messages import Block, Finish, Finished, Job, Known, Ready, RunBlock
from bench.plan import Plan, is_done, is_slow, stopped_by
from bench.records import Case, Environment, Failure, Measurement, Source
from bench.store import History, Store
from bench.template import CaseError, ChildProcess, Template, TemplateDiedError

T = TypeVar("T")

DEADLINE_FACTOR = 20.0
DEATHS_TOLERATED = 3
# Absolute or beginning with ~ or dots; ends at white space, a quote or a colon.
OUTSIDE_PATH = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)/?")


class Listener(Protocol):
    """Who wants to know how a run goes. Called between blocks only, never inside one."""

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """The run begins: what there is to measure, and what is on record already."""

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case is ready to be timed; about how long an iteration takes."""

    def sampled(self, case: Case, earlier: Sequence[float], samples: Sequence[float]) -> None:
        """A block was timed: samples of earlier rounds, and those of this one so far."""

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A round of a case is on record; all of its rounds so far."""

    def failed(self, record: Failure) -> None:
        """A failure is on record."""


def run(
    cases: Sequence[Case],
    plan: Plan,
    store: Store,
    environment: Environment,
    listener: Listener,
    *,
    retry_failed: bool = False,
    sources: Mapping[str, Source] | None = None,
) -> list[Failure]:
    """Measure what `store` lacks of `cases`; returns the failures of this run's cases, old or new.

    Groups run one after another, smallest batch first as `cases` come. `sources` says where
    models are found that are not in the zoo, by the name that their cases have.
    """
    runner = _Runner(plan, store, environment, listener, retry_failed, sources or {})
    todo = [case for case in cases if runner.pending(case)]
    listener.started(todo, [case for case in cases if case not in todo])
    if todo:
        store.append(environment)
    for _, group in itertools.groupby(todo, key=lambda case: case.group):
        runner.run_group(list(group))
    histories = [store.history(case, environment.environment_id) for case in cases]
    return [history.failure for history in histories if history.failure]


def new_run_id() -> str:
    """An id that no other run has."""
    return secrets.token_hex(6)


class _Turn:
    """A child in its round: what it was asked to measure and what came of it."""

    def __init__(self, case: Case, child: ChildProcess, job: Job, earlier: list[float]) -> None:
        self.case = case
        self.child = child
        self.job = job
        self.earlier = earlier
        self.iteration_s = 0.0
        self.blocks: list[Block] = []

    @property
    def samples(self) -> list[float]:
        return [sample for block in self.blocks for sample in block.samples_s]

    def is_slow(self) -> bool:
        return is_slow(self.job.plan, self.case.batch, self.iteration_s)

    def is_satisfied(self) -> bool:
        """Whether the round has the samples and the seconds that the plan asks for."""
        plan, samples = self.job.plan, self.samples
        if self.is_slow():
            return len(samples) >= plan.slow_samples
        return len(samples) >= plan.min_samples and sum(samples) >= plan.timed_s

    def time_block(self, *, alone: bool) -> None:
        """Have one block timed; the call after a switch of process is discarded."""
        iterations = max(1, round(self.job.plan.block_s / self.iteration_s))
        discard = 0 if self.is_slow() or (alone and self.blocks) else 1
        self.child.ask(RunBlock(iterations, discard))
        expected = (iterations + discard) * self.iteration_s
        block = self._answer(Block, self.job.plan.deadline_s + DEADLINE_FACTOR * expected)
        self.blocks.append(block)
        self.iteration_s = min(self.iteration_s, *block.samples_s)  # the first call may stall

    def await_ready(self) -> None:
        """Wait until the network is prepared and warm."""
        self.iteration_s = self._answer(Ready, self.job.plan.deadline_s).iteration_s

    def finish(self) -> Finished:
        """Have the child report and end."""
        self.child.ask(Finish())
        finished = self._answer(Finished, self.job.plan.deadline_s)
        self.child.end()
        return finished

    def _answer(self, kind: type[T], deadline_s: float) -> T:
        reply = self.child.answer(deadline_s)
        if not isinstance(reply, kind):
            self.child.kill()
            message = f"expected {kind.__name__}, got {type(reply).__name__}"
            raise CaseError("timed", "Protocol", message)
        return reply


class _Runner:
    """The state of one run."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        environment: Environment,
        listener: Listener,
        retry_failed: bool,
        sources: Mapping[str, Source],
    ) -> None:
        self._plan = plan
        self._store = store
        self._environment = environment
        self._listener = listener
        self._retry = retry_failed
        self._sources = sources
        self._failed_now: set[Case] = set()

    def pending(self, case: Case) -> bool:
        """Whether the case needs a round."""
        rounds, failure = self._history(case)
        if failure is not None and (not self._retry or case in self._failed_now):
            return False
        return not is_done(self._plan, rounds)

    def run_group(self, cases: list[Case]) -> None:
        """Round after round, until no case of the group needs one.

        A round whose template is killed is begun anew; what it had finished is on record.
        """
        deaths = 0
        while waiting := [case for case in cases if self.pending(case)]:
            try:
                self._run_round(waiting)
            except TemplateDiedError:
                deaths += 1
                if deaths == DEATHS_TOLERATED:
                    raise UsageError(
                        f"the measuring processes were killed {deaths} times",
                        "Look for what kills them (`dmesg` names the out-of-memory killer); "
                        "finished rounds are on record, and the same command goes on.",
                    ) from None

    def _run_round(self, cases: list[Case]) -> None:
        waiting = list(cases)
        began = time.monotonic()
        with Template(cases[0].device) as template:
            share_s = (time.monotonic() - began) / len(cases)
            while waiting:
                turns = self._prepare(template, waiting)
                self._alternate(turns)
                for turn in turns:
                    self._finish(turn, share_s)

    def _prepare(self, template: Template, waiting: list[Case]) -> list[_Turn]:
        """Take cases from `waiting` and make a child of each ready, as long as memory allows."""
        turns: list[_Turn] = []
        free_at_first = psutil.virtual_memory().available
        while waiting and (not turns or _has_room(free_at_first, len(turns))):
            case = waiting.pop(0)
            rounds, _ = self._history(case)
            earlier = [sample for record in rounds for sample in record.samples_s]
            source = self._sources.get(case.model)
            job = Job(case, len(rounds) + 1, self._plan, _known(rounds), source)
            try:
                turn = _Turn(case, template.fork(job), job, earlier)
                turn.await_ready()
                self._listener.warmed(case, turn.iteration_s)
            except CaseError as error:
                self._record_failure(case, job.round, error)
            else:
                turns.append(turn)
        return turns

    def _alternate(self, turns: list[_Turn]) -> None:
        """Let children take turns until each has what the plan asks for; drops those that fail."""
        active = list(turns)
        while active:
            for turn in list(active):
                try:
                    turn.time_block(alone=len(active) == 1)
                except CaseError as error:
                    turns.remove(turn)
                    active.remove(turn)
                    self._record_failure(turn.case, turn.job.round, error)
                else:
                    self._listener.sampled(turn.case, turn.earlier, turn.samples)
            active = [turn for turn in reversed(active) if not turn.is_satisfied()]

    def _finish(self, turn: _Turn, share_s: float) -> None:
        try:
            finished = turn.finish()
        except CaseError as error:
            self._record_failure(turn.case, turn.job.round, error)
            return
        record = Measurement(
            run_id=self._environment.run_id,
            case_id=turn.case.case_id,
            case=turn.case,
            environment_id=self._environment.environment_id,
            round=turn.job.round,
            samples_s=turn.samples,
            block_sizes=[len(block.samples_s) for block in turn.blocks],
            block_starts_s=[block.start_s for block in turn.blocks],
            stages_s=finished.stages,
            cost=finished.known.cost,
            stopped_by="round",
            discarded=finished.discarded,
            share_s=share_s,
            structure=finished.known.structure,
            check=finished.known.check,
            preset=self._plan.preset,
            passport=finished.known.passport,
            warnings=self._warnings(turn.case),
        )
        rounds = [*self._history(turn.case).rounds, record]
        rounds[-1] = msgspec.structs.replace(record, stopped_by=stopped_by(self._plan, rounds))
        self._store.append(rounds[-1])
        self._listener.measured(turn.case, rounds)

    def _record_failure(self, case: Case, round_number: int, error: CaseError) -> None:
        self._failed_now.add(case)
        failure = Failure(
            run_id=self._environment.run_id,
            case_id=case.case_id,
            case=case,
            environment_id=self._environment.environment_id,
            round=round_number,
            stage=error.stage,
            error=error.error,
            message=without_paths(error.message),
            stderr_tail=without_paths(error.stderr_tail),
            warnings=self._warnings(case),
        )
        self._store.append(failure)
        self._listener.failed(failure)

    def _warnings(self, case: Case) -> list[str]:
        usable = self._environment.chip.threads
        if case.threads > usable:
            return [f"{case.threads} threads on {usable} usable CPUs"]
        return []

    def _history(self, case: Case) -> History:
        return self._store.history(case, self._environment.environment_id)


def without_paths(text: str) -> str:
    """`text` with paths that lead out of the working folder cut to their last part.

    Records leave the machine, and a path names its user.
    """
    return OUTSIDE_PATH.sub(r"\1", text)


def _known(rounds: Sequence[Measurement]) -> Known | None:
    """What the first round found out; None before it."""
    if not rounds:
        return None
    first = rounds[0]
    return Known(first.check, first.cost, first.structure, first.passport)


def _has_room(free_at_first: int, live: int) -> bool:
    """Whether memory holds another child as large as the `live` ones are on average, twice over."""
    free = psutil.virtual_memory().available
    return free > 2 * (free_at_first - free) / live

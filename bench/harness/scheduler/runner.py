"""The parent's loop: which child computes when, and what goes on record.

    for each group of comparable cases:                           run
        while a case of the group needs a round:                  _measure_group
            start a fresh template process                        _run_round
            while cases wait:                                     (a wave)
                fork a child of each case that memory has room for    _start_children
                while a child needs samples:                          _take_turns
                    time one block of each, then reverse the order    (a turn)
                put what each child measured on record                _record

The order of a round is shuffled (seeded) and reverses each turn, so that a drift of the machine
hits all cases alike. While a child times a block, the parent sleeps in a system call.
"""

from __future__ import annotations

import itertools
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from bench.devices import DEVICES
from bench.harness.plan import Plan, is_done, stopped_by
from bench.harness.protocol.messages import Job, Known, Observed
from bench.harness.scheduler import record
from bench.harness.scheduler.capacity import has_room, most_children
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.record import Surroundings
from bench.harness.scheduler.template import Template, TemplateDeaths
from bench.records import Case, Environment, Failure, Measurement, Source
from bench.storage.history import History
from bench.storage.results import Store
from bench.text import without_paths


class Listener(Protocol):
    """Follows a run. The run calls it between blocks only, never inside one."""

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """The run begins: the cases to measure, and those that are done already."""

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case is ready to be timed; an iteration takes about so many seconds."""

    def sampled(self, case: Case, earlier: Sequence[float], samples: Sequence[float]) -> None:
        """A block was timed: samples of earlier rounds, and those of this round so far."""

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
    """Measure what `store` lacks of `cases`; return the failures of these cases, old and new.

    Groups run one after another, smallest batch first as `cases` come. `sources` says, by model
    name, where a child finds the models that are not in the zoo.
    """
    scheduler = _Scheduler(plan, store, environment, listener, retry_failed, sources or {})
    todo = [case for case in cases if scheduler.needs_round(case)]
    listener.started(todo, [case for case in cases if case not in todo])
    if todo:
        store.append(environment)
    for _, group in itertools.groupby(todo, key=lambda case: case.group):
        scheduler.measure_group(list(group))
    histories = [store.history(case, environment.environment_id) for case in cases]
    return [history.failure for history in histories if history.failure]


def new_run_id() -> str:
    """An id that no other run has."""
    return secrets.token_hex(6)


class _Scheduler:
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
        self._driver = DEVICES[environment.chip.device]
        self._plan = plan
        self._store = store
        self._environment = environment
        self._listener = listener
        self._retry = retry_failed
        self._sources = sources
        self._failed_now: set[Case] = set()
        self._sittings = 0
        self._recorded = 0  # rounds and failures

    def needs_round(self, case: Case) -> bool:
        """Whether the plan asks for another round; a failure ends a case unless it is retried."""
        rounds, failure = self._history(case)
        if failure is not None and (not self._retry or case in self._failed_now):
            return False
        return not is_done(self._plan, rounds)

    def measure_group(self, cases: list[Case]) -> None:
        """Run round after round, until no case of the group needs one.

        A round whose template is killed begins anew; what it had finished is on record.
        """
        deaths = TemplateDeaths()
        while needing := [case for case in cases if self.needs_round(case)]:
            try:
                self._run_round(needing)
            except TemplateDiedError:
                deaths.count(self._recorded)

    def _run_round(self, cases: list[Case]) -> None:
        """Measure each case in a process of its own, wave after wave where memory is short."""
        waiting = self._shuffled(cases)
        foreign = self._driver.foreign_processes()
        began = time.monotonic()
        with Template(cases[0].device) as template:
            share_s = (time.monotonic() - began) / len(cases)
            warnings: list[str] = []
            while waiting:
                children = self._start_children(template, waiting)
                if waiting:
                    held = f"there was room for {len(children)} of {len(cases)} cases at once"
                    warnings = [f"{held}: the others did not take turns with them"]
                self._sittings += 1
                self._take_turns(children)
                around = Surroundings(share_s, self._sittings, foreign, warnings)
                for child in children:
                    self._record(child, around)

    def _shuffled(self, cases: Sequence[Case]) -> list[Case]:
        """The order of a round and of its waves: the same for the same round, another each round.

        The first round keeps the order of the suite, so that rows appear in that order.
        """
        number = max(len(self._history(case).rounds) for case in cases)
        order = list(cases)
        if number:
            random.Random(f"{cases[0].group} {number}").shuffle(order)
        return order

    def _start_children(self, template: Template, waiting: list[Case]) -> list[CaseRound]:
        """Take cases from `waiting` and make a child of each ready, as long as memory allows."""
        children: list[CaseRound] = []
        most = most_children()
        while waiting and len(children) < most and self._has_room(children):
            case = waiting.pop(0)
            job = self._job(case)
            try:
                child = CaseRound(job, template.fork(job), self._earlier_samples(case))
                child.await_ready()
                self._listener.warmed(case, child.iteration_s)
            except CaseError as error:
                if error.is_short_of_memory and children:
                    waiting.insert(0, case)  # perhaps it fits alone: it begins the next wave
                    break
                self._record_failure(job, error)
            else:
                children.append(child)
        return children

    def _take_turns(self, children: list[CaseRound]) -> None:
        """Time blocks in turns until each child has enough of them; drop children that fail."""
        active = list(children)
        while active:
            for child in list(active):
                try:
                    child.time_block()
                except CaseError as error:
                    children.remove(child)
                    active.remove(child)
                    self._record_failure(child.job, error)
                else:
                    self._listener.sampled(child.case, child.earlier, child.samples)
            active = [child for child in reversed(active) if not child.has_enough()]

    def _record(self, child: CaseRound, around: Surroundings) -> None:
        """Have the child report and observe its chip; append its record, or its failure."""
        earlier = self._history(child.case).rounds
        try:
            finished = child.finish()
        except CaseError as error:
            self._record_failure(child.job, error)
            return
        observed, warned = self._observe(child, earlier)
        made = record.measurement(self._environment, child, finished, observed, around)
        made = msgspec.structs.replace(made, warnings=[*made.warnings, *warned])
        rounds = [*earlier, made]
        rounds[-1] = msgspec.structs.replace(made, stopped_by=stopped_by(self._plan, rounds))
        self._append(rounds[-1])
        self._listener.measured(child.case, rounds)

    def _observe(
        self, child: CaseRound, earlier: Sequence[Measurement]
    ) -> tuple[Observed, list[str]]:
        """Observe the chip once a case; a failure to do so is a warning, the blocks are kept."""
        nothing = Observed(None, 0.0)
        try:
            wanted = self._plan.observe_s and not any(made.telemetry for made in earlier)
            observed = child.observe(self._plan.observe_s) if wanted else nothing
            child.end()
        except CaseError as error:
            what = without_paths(f"{error.error}: {error.message}")
            return nothing, [f"the chip could not be observed: {what}"]
        return observed, []

    def _record_failure(self, job: Job, error: CaseError) -> None:
        self._failed_now.add(job.case)
        warnings = record.too_many_threads(job.case, self._environment)
        failed = record.failure(self._environment, job.case, job.round, error, warnings=warnings)
        self._append(failed)
        self._listener.failed(failed)

    def _append(self, made: Measurement | Failure) -> None:
        self._store.append(made)
        self._recorded += 1

    def _job(self, case: Case) -> Job:
        """What a child of `case` is asked to do in its next round."""
        rounds = self._history(case).rounds
        number = max((made.round for made in rounds), default=0) + 1
        return Job(case, number, self._plan, _known(rounds), self._sources.get(case.model))

    def _earlier_samples(self, case: Case) -> list[float]:
        return [sample for made in self._history(case).rounds for sample in made.samples_s]

    def _has_room(self, children: Sequence[CaseRound]) -> bool:
        return has_room(self._driver.free_bytes(), [child.peak_bytes for child in children])

    def _history(self, case: Case) -> History:
        return self._store.history(case, self._environment.environment_id)


def _known(rounds: Sequence[Measurement]) -> Known | None:
    """What the first round found out; None before it."""
    if not rounds:
        return None
    first = rounds[0]
    return Known(first.check, first.cost, first.structure, first.passport)

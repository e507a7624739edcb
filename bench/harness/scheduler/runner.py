"""The parent's loop of `bench run`; the right-hand column names the function.

    for each group of comparable cases:                           run
        while a case of the group needs a round:                  measure_group
            start a fresh template process per allocator          _run_round
            while cases wait:                                     (a wave)
                fork a child of each case that memory has room for    _start_children
                while a child needs samples:                          take_turns
                    time one block of each, then reverse the order    (a turn)
                    end the children that computed out of turn        end_restless
                append what each child measured to the store          _record

The order of a round is shuffled with a fixed seed and reversed after each turn. A drift of the
machine then affects all cases alike. While a child times a block, the parent sleeps in a system
call, so the parent uses no CPU core. A case whose child computed while another child was timed
takes no more turns with others: it has a wave of its own, in this round and in later ones.
"""

from __future__ import annotations

import itertools
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.devices import DEVICES
from bench.harness.plan import Plan
from bench.harness.protocol.messages import CaseFacts, Job, Observed
from bench.harness.scheduler import record
from bench.harness.scheduler.capacity import has_room, most_by_files
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.environment import runtime_of
from bench.harness.scheduler.exporter import checked
from bench.harness.scheduler.listener import Listener
from bench.harness.scheduler.patience import Patience
from bench.harness.scheduler.record import RoundContext
from bench.harness.scheduler.template import TemplateDeaths
from bench.harness.scheduler.templates import Templates
from bench.harness.scheduler.turns import take_turns
from bench.harness.scheduler.watch import restless_on
from bench.harness.stopping_rule import is_done, stopped_by
from bench.records import Case, Environment, Failure, Measurement, Source, of_cases
from bench.records.scenario import SUSTAINED
from bench.storage.history import History, current_generation, of_generation
from bench.storage.results import Store, UnreadableRecordError
from bench.text import without_paths


def run(
    cases: Sequence[Case],
    plan: Plan,
    store: Store,
    environment: Environment,
    listener: Listener,
    *,
    retry_failed: bool = False,
    again: bool = False,
    sources: Mapping[str, Source] | None = None,
) -> list[Failure]:
    """Measure the rounds of `cases` that `store` lacks; return all recorded failures of `cases`.

    Consecutive cases of one group run together; groups run in the order of `cases`. `sources` maps
    a model's name to where a child finds it, for models that are not in the zoo. With `again`, all
    rounds start anew, in the next generation of each case. Raises UsageError where the template
    process is killed repeatedly.
    """
    scheduler = Scheduler(plan, store, environment, listener, retry_failed, sources or {})
    scheduler.start_generations(cases, anew=again)
    todo = [case for case in cases if scheduler.needs_round(case)]
    listener.started(todo, [case for case in cases if case not in todo])
    if todo:
        store.append(environment)
    for _, group in itertools.groupby(todo, key=lambda case: case.group):
        scheduler.measure_group(list(group))
    histories = [store.history(case, environment.environment_id) for case in cases]
    return [history.failure for history in histories if history.failure]


def new_run_id() -> str:
    """Return a new random run id of 12 hex digits."""
    return secrets.token_hex(6)


class Scheduler:
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
        self._generations: dict[Case, int] = {}
        self._failed_now: set[Case] = set()
        self._checked: dict[Case, CaseFacts | None] = {}  # of exported networks, in this run
        self._restless: dict[str, float] = {}  # share of the CPUs out of turn, by case_id
        self._sittings = 0
        self._patience = Patience(plan.patience)
        self._recorded = 0  # number of rounds and failures appended

    def start_generations(self, cases: Sequence[Case], *, anew: bool) -> None:
        """Continue the newest generation of each case; with `anew`, start the next one."""
        here = self._environment.environment_id
        for case in cases:
            known = list(of_cases(self._store.records_of(case, here)))
            self._generations[case] = current_generation(known, runtime_of(case), anew=anew)
            self._restless |= restless_on(of_generation(known, self._generations[case]))

    def needs_round(self, case: Case) -> bool:
        """Whether the plan asks for another round. A failed case needs none unless retried."""
        rounds, failure = self._history(case)
        if failure is not None and (not self._retry or case in self._failed_now):
            return False
        return not is_done(self._plan, rounds)

    def measure_group(self, cases: list[Case]) -> None:
        """Run rounds until no case of the group needs another round.

        If a template is killed, the round starts again; its finished cases are in the store.
        Raises UsageError where this happens repeatedly.
        """
        self._measure(cases, self.needs_round)

    def measure_once(self, cases: Sequence[Case]) -> None:
        """Measure one more round of each case of a group, or record its failure. Raises as above.

        The cases take turns, unless memory has no room for all or one of them is restless.
        """
        here = self._environment.environment_id
        known = {case: len(self._store.records_of(case, here)) for case in cases}
        self._measure(cases, lambda case: len(self._store.records_of(case, here)) == known[case])

    def _measure(self, cases: Sequence[Case], needs_round: Callable[[Case], bool]) -> None:
        deaths = TemplateDeaths()
        while needing := [case for case in cases if needs_round(case)]:
            try:
                self._run_round(needing)
            except TemplateDiedError:
                deaths.count(self._recorded)

    def _run_round(self, cases: list[Case]) -> None:
        """Measure each case in a process of its own; if memory is short, in several waves.

        Each restless or sustained case has a wave of its own after the others.
        """
        order = self._shuffled(cases)
        alone = [case for case in order if self._is_alone(case)]
        waiting = [case for case in order if case not in alone]
        foreign = self._driver.foreign_processes()
        began = time.monotonic()
        with self._driver.keep_ready(), Templates(cases) as templates:
            share_s = (time.monotonic() - began) / len(cases)
            warnings: list[str] = []
            while waiting:
                children = self._start_children(templates, waiting)
                if waiting:
                    held = f"there was room for {len(children)} of {len(cases)} cases at once"
                    warnings = [f"{held}: the others did not take turns with them"]
                alone += self._measure_wave(children, share_s, foreign, warnings)
            for case in alone:
                children = self._start_children(templates, [case])
                self._measure_wave(children, share_s, foreign, [])

    def _is_alone(self, case: Case) -> bool:
        """Whether the case takes turns with no other: it is restless, or never pauses."""
        return case.case_id in self._restless or case.when.kind == SUSTAINED

    def _measure_wave(
        self,
        children: list[CaseRound],
        share_s: float,
        foreign: int | None,
        warnings: Sequence[str],
    ) -> list[Case]:
        """Time and record these children; return the restless cases, which were only ended."""
        self._sittings += 1
        restless = take_turns(children, self._listener, self._record_failure, self._patience)
        self._restless |= {each.child.case.case_id: each.share for each in restless}
        context = RoundContext(share_s, self._sittings, foreign, warnings)
        for child in children:
            self._record(child, context)
        return [each.child.case for each in restless]

    def _shuffled(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases in the order of this round, shuffled with the round's number as seed.

        The first round keeps the order of the suite, so that rows appear in that order.
        """
        number = max(len(self._history(case).rounds) for case in cases)
        order = list(cases)
        if number:
            random.Random(f"{cases[0].group} {number}").shuffle(order)
        return order

    def _start_children(self, templates: Templates, waiting: list[Case]) -> list[CaseRound]:
        """Remove cases from `waiting` and start a child for each, as long as memory allows."""
        children: list[CaseRound] = []
        most = min(most_by_files(), self._driver.most_children())
        while waiting and len(children) < most and self._has_room(children):
            case = waiting.pop(0)
            job = self._job(case)
            try:
                earlier, calls = self._earlier_samples(case), self._calls(case)
                self._listener.preparing(case)
                template = templates.of(case)
                job = checked(job, template)
                self._checked[case] = job.facts
                child = CaseRound(job, template.fork(job), earlier, calls)
                child.await_ready()
                self._listener.warmed(case, child.iteration_s)
            except CaseError as error:
                if error.is_out_of_memory and children:
                    waiting.insert(0, case)  # it may fit alone: the next wave begins with it
                    break
                self._record_failure(job, error)
            else:
                children.append(child)
        return children

    def _record(self, child: CaseRound, context: RoundContext) -> None:
        """Get the child's report, let it observe its chip, and append the record or the failure."""
        earlier = self._history(child.case).rounds
        try:
            finished = child.finish()
        except CaseError as error:
            self._record_failure(child.job, error)
            return
        observed, warned = self._observe(child, earlier)
        made = record.measurement(self._environment, child, finished, observed, context)
        made = msgspec.structs.replace(
            made,
            warnings=[*made.warnings, *warned],
            generation=self._generations[child.case],
            restless_share=self._restless.get(child.case.case_id, 0.0),
            spoilt_by=self._patience.spoilt_by(made),
        )
        rounds = [*earlier, made]
        rounds[-1] = msgspec.structs.replace(made, stopped_by=stopped_by(self._plan, rounds))
        try:
            self._append(rounds[-1])
        except UnreadableRecordError as error:
            refused = CaseError("timed", "UnreadableRecord", error.message)
            self._record_failure(child.job, refused)
            return
        self._listener.measured(child.case, rounds)

    def _observe(
        self, child: CaseRound, earlier: Sequence[Measurement]
    ) -> tuple[Observed, list[str]]:
        """Observe the chip once per case; return the result and the warnings.

        If the child fails here, its blocks are kept and the failure becomes a warning.
        """
        nothing = Observed(None, 0.0)
        try:
            wanted = child.job.plan.observe_s and not any(
                made.telemetry for made in earlier if not made.disturbed_by
            )
            observed = child.observe(child.job.plan.observe_s) if wanted else nothing
            child.end()
        except CaseError as error:
            what = without_paths(f"{error.error}: {error.message}")
            return nothing, [f"the chip could not be observed: {what}"]
        return observed, []

    def _record_failure(self, job: Job, error: CaseError) -> None:
        self._failed_now.add(job.case)
        warnings = record.too_many_threads(job.case, self._environment)
        failed = record.failure(self._environment, job.case, job.round, error, warnings=warnings)
        failed = msgspec.structs.replace(failed, generation=self._generations[job.case])
        self._append(failed)
        self._listener.failed(failed)

    def _append(self, made: Measurement | Failure) -> None:
        self._store.append(made)
        self._recorded += 1

    def _job(self, case: Case) -> Job:
        """Return the job of a child for the next round of `case`."""
        rounds = self._history(case).rounds
        taken = {made.round for made in rounds}
        number = next(each for each in itertools.count(1) if each not in taken)
        facts = record.case_facts(rounds) or self._checked.get(case)
        plan = self._plan.within(case.when)
        return Job(case, number, plan, facts, self._sources.get(case.model))

    def _earlier_samples(self, case: Case) -> list[list[float]]:
        return [made.samples_s for made in self._history(case).rounds if not made.disturbed_by]

    def _calls(self, case: Case) -> int | None:
        """Return how many calls made one sample in the first round; None before it."""
        rounds = self._history(case).rounds
        return rounds[0].calls_per_sample if rounds else None

    def _has_room(self, children: Sequence[CaseRound]) -> bool:
        return has_room(self._driver.free_bytes(), [child.peak_bytes for child in children])

    def _history(self, case: Case) -> History:
        here = self._environment.environment_id
        return self._store.history(case, here, self._generations[case])

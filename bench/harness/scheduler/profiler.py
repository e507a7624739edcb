"""The parent's loop of `bench profile`; the right-hand column names the function.

for each of the rounds:                                       profile
    while a case lacks this round:
        start a fresh template process                        run_round
        profile each case in a child, one after another           _profile_case
        append what each child found to the store
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import structs

from bench.analysis.profile.recorded import ProfileHistory, peaks_for, profile_history
from bench.devices import DEVICES
from bench.harness.plan import PRESETS, PROFILE_ROUNDS, ProfilePlan
from bench.harness.protocol.messages import Job, Profiled
from bench.harness.scheduler import record
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.environment import runtime_of
from bench.harness.scheduler.template import Template, TemplateDeaths
from bench.harness.scheduler.templates import Templates
from bench.records import Case, Environment, Failure, Peaks, Profile, Source, of_profiles
from bench.storage.history import current_generation
from bench.storage.pages import write_pages
from bench.storage.results import Store, UnreadableRecordError

DEADLINE_S = 600.0
OBSERVE_S = 5.0
PEAKS_S = 0.3  # of blocks, in a process that measures the peaks
OnProfiled = Callable[[ProfileHistory], None]


def profile(
    cases: Sequence[Case],
    seconds: float,
    store: Store,
    environment: Environment,
    on_profiled: OnProfiled,
    *,
    retry_failed: bool = False,
    again: bool = False,
    sources: Mapping[str, Source] | None = None,
    traces: Path | None = None,
) -> list[ProfileHistory]:
    """Profile the rounds of `cases` that `store` lacks; return the recorded profiles of each case.

    Each case runs in PROFILE_ROUNDS processes, whose blocks last `seconds` in total. A round visits
    all cases, and every second round in reverse, so that a drift of the machine affects all cases
    alike. With `traces`, each trace is written to that folder, and all cases are profiled again.
    With `again`, all rounds start anew, in the next generation of each case.
    `on_profiled` is called with each finished case. If a template is killed, a new one profiles the
    remaining cases of the round. Raises UsageError where MAX_DEATHS templates in a row are killed
    and none finishes a case.
    """
    profiler = _Profiler(seconds, store, environment, sources or {}, traces)
    profiler.start_generations(cases, anew=again)
    redo = {case for case in cases if traces or (retry_failed and profiler.history(case).failure)}
    deaths = TemplateDeaths()
    for number in range(1, PROFILE_ROUNDS + 1):
        done: set[Case] = set()
        while todo := [
            case
            for case in cases
            if case not in done and (case in redo or profiler.needs_round(case, number))
        ]:
            try:
                for made in profiler.run_round(todo, number):
                    done.add(made.case)
                    if isinstance(made, Failure):
                        redo.discard(made.case)
                    if isinstance(made, Failure) or number == PROFILE_ROUNDS:
                        on_profiled(profiler.history(made.case))
            except TemplateDiedError:
                deaths.count((number, len(done)))
    return [profiler.history(case) for case in cases]


def peaks(
    case: Case, store: Store, environment: Environment, sources: Mapping[str, Source]
) -> Peaks | None:
    """Return the peak rates of the device for the precision and the threads of a case.

    They are measured in a process of `case` if they are not on record. None where that fails.
    """
    here = environment.environment_id
    if known := peaks_for(store.records_of(None, here), case, here):
        return known
    _Profiler(PEAKS_S * PROFILE_ROUNDS, store, environment, sources, None).measure_peaks(case)
    return peaks_for(store.records_of(None, here), case, here)


class _Profiler:
    """The state of one profiling run."""

    def __init__(
        self,
        seconds: float,
        store: Store,
        environment: Environment,
        sources: Mapping[str, Source],
        traces: Path | None,
    ) -> None:
        self._round_s = seconds / PROFILE_ROUNDS
        self._store = store
        self._environment = environment
        self._sources = sources
        self._traces = traces
        self._generations: dict[Case, int] = {}
        self._started = False

    def start_generations(self, cases: Sequence[Case], *, anew: bool) -> None:
        """Continue the newest generation of each case; with `anew`, start the next one."""
        here = self._environment.environment_id
        for case in cases:
            known = list(of_profiles(self._store.records_of(case, here)))
            self._generations[case] = current_generation(known, runtime_of(case), anew=anew)

    def history(self, case: Case) -> ProfileHistory:
        """The recorded profiles of `case` in this environment and in this generation."""
        here = self._environment.environment_id
        records = self._store.records_of(case, here)
        return profile_history(records, case, here, self._generations[case])

    def needs_round(self, case: Case, number: int) -> bool:
        """Whether the store has neither a failure nor a long enough profile of this round."""
        known = self.history(case)
        long_enough = {each.round for each in known.rounds if each.seconds >= self._round_s}
        return not known.failure and number not in long_enough

    def run_round(self, cases: Sequence[Case], number: int) -> Iterator[Profile | Failure]:
        """Profile the cases one after another; yield each record after it is on disk.

        Even rounds visit the cases in reverse. Raises TemplateDiedError.
        """
        if not self._started:
            self._store.append(self._environment)
            self._started = True
        device = cases[0].device
        with DEVICES[device].keep_ready(), Templates(cases) as templates:
            for case in cases if number % 2 else reversed(cases):
                yield self._profile_case(case, number, templates.of(case))

    def _profile_case(self, case: Case, number: int, template: Template) -> Profile | Failure:
        """Profile one case in a process of its own, and append its record to the store."""
        source, plan = self._sources.get(case.model), self._plan(case, number)
        job = Job(case, number, PRESETS["quick"], None, source, plan)
        made: Profile | Failure
        try:
            answer = _answer(template, job)
        except CaseError as error:
            if error.stage != "profile":
                error.message = f"at {error.stage}: {error.message}"
            made = record.failure(self._environment, case, number, error, stage="profile")
        else:
            made = self._profile(case, number, answer)
            self._keep_peaks(case, answer)
            if self._traces is not None and answer.trace is not None:
                write_pages(self._traces, {f"{case.case_id}-{number}.json": answer.trace})
        made = structs.replace(made, generation=self._generations[case])
        try:
            self._store.append(made)
        except UnreadableRecordError as unreadable:
            refused = CaseError("profile", "UnreadableRecord", unreadable.message)
            made = record.failure(self._environment, case, number, refused)
            made = structs.replace(made, generation=self._generations[case])
            self._store.append(made)
        return made

    def measure_peaks(self, case: Case) -> None:
        """Append the peak rates for a case to the store, and no profile; nothing if it fails."""
        job = Job(case, 1, PRESETS["quick"], None, self._sources.get(case.model))
        job = structs.replace(job, profile=ProfilePlan(seconds=self._round_s, peaks=True))
        failing = contextlib.suppress(CaseError, TemplateDiedError)
        with failing, DEVICES[case.device].keep_ready(), Templates([case]) as templates:
            self._keep_peaks(case, _answer(templates.of(case), job))

    def _plan(self, case: Case, number: int) -> ProfilePlan:
        here = self._environment.environment_id
        return ProfilePlan(
            seconds=self._round_s,
            observe_s=OBSERVE_S if number == 1 else 0.0,
            peaks=peaks_for(self._store.records_of(None, here), case, here) is None,
            trace=self._traces is not None,
        )

    def _profile(self, case: Case, number: int, answer: Profiled) -> Profile:
        return Profile(
            run_id=self._environment.run_id,
            case_id=case.case_id,
            case=case,
            environment_id=self._environment.environment_id,
            round=number,
            seconds=self._round_s,
            rows=answer.rows,
            waterfall=answer.waterfall,
            utilisation=answer.utilisation,
            plain_samples_s=answer.plain_samples_s,
            profiled_samples_s=answer.profiled_samples_s,
            events=answer.events,
            warnings=answer.notes,
            runtime=runtime_of(case),
        )

    def _keep_peaks(self, case: Case, answer: Profiled) -> None:
        """Append the device's peak MAC/s and byte/s to the store, if the child measured them."""
        if answer.macs_per_s is None or answer.bytes_per_s is None:
            return
        self._store.append(
            Peaks(
                run_id=self._environment.run_id,
                environment_id=self._environment.environment_id,
                precision=case.precision,
                threads=case.threads,
                macs_per_s=answer.macs_per_s,
                bytes_per_s=answer.bytes_per_s,
            )
        )


def _answer(template: Template, job: Job) -> Profiled:
    """Fork a child, return its profile. Raises CaseError or TemplateDiedError."""
    child = template.fork(job)
    answer = child.answer(DEADLINE_S)
    if not isinstance(answer, Profiled):
        child.kill()
        raise CaseError("profile", "Protocol", f"got {type(answer).__name__}")
    child.end()
    return answer

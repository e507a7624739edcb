"""The parent that profiles: some processes a case, one at a time, onto the same record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.analysis.profile.recorded import Known, known_of, peaks_for
from bench.harness.plan import PRESETS, PROFILE_ROUNDS, ProfilePlan
from bench.harness.protocol.messages import Job, Profiled
from bench.harness.scheduler.child import CaseError, TemplateDiedError
from bench.harness.scheduler.runner import Deaths, without_paths
from bench.harness.scheduler.template import Template
from bench.records import Case, Environment, Failure, Peaks, Profile, Source
from bench.storage.pages import write_pages
from bench.storage.results import Store

DEADLINE_S = 600.0
OBSERVE_S = 5.0
Say = Callable[[Known], None]


def profile(
    cases: Sequence[Case],
    seconds: float,
    store: Store,
    environment: Environment,
    say: Say,
    *,
    retry_failed: bool = False,
    sources: Mapping[str, Source] | None = None,
    traces: Path | None = None,
) -> list[Known]:
    """Profile what `store` lacks of `cases`; what is then on record of each, in their order.

    Each case has PROFILE_ROUNDS processes, whose blocks last for `seconds` in all; rounds go over
    all cases, back and forth, so that a drift of the machine hits all alike. With `traces` each
    trace goes into that folder, and what is on record is profiled anew. A case that is done is
    told to `say`. A round whose template is killed goes on with the rest. Raises UsageError where
    that happens again and again.
    """
    here = environment.environment_id
    anew = {
        case for case in cases if traces or (retry_failed and _known(store, case, here).failure)
    }
    started, deaths = False, Deaths()
    for number in range(1, PROFILE_ROUNDS + 1):
        done: set[Case] = set()
        while todo := [
            case
            for case in cases
            if case not in done and (case in anew or _lacks(store, case, here, number, seconds))
        ]:
            if not started:
                store.append(environment)
                started = True
            each = _round(todo, number, seconds, store, environment, sources or {}, traces)
            try:
                for record in each:
                    done.add(record.case)
                    if isinstance(record, Failure):
                        anew.discard(record.case)
                    if isinstance(record, Failure) or number == PROFILE_ROUNDS:
                        say(_known(store, record.case, here))
            except TemplateDiedError:
                deaths.one_more((number, len(done)))
    return [_known(store, case, here) for case in cases]


def _round(
    cases: Sequence[Case],
    number: int,
    seconds: float,
    store: Store,
    environment: Environment,
    sources: Mapping[str, Source],
    traces: Path | None,
) -> Iterator[Profile | Failure]:
    """A process of each case, one after another, onto the record. Raises TemplateDiedError."""
    with Template(cases[0].device) as template:
        for case in cases if number % 2 else reversed(cases):
            source = sources.get(case.model)
            yield _profile(case, number, seconds, store, environment, template, source, traces)


def _known(store: Store, case: Case, environment_id: str) -> Known:
    return known_of(store.of(case, environment_id), case, environment_id)


def _lacks(store: Store, case: Case, environment_id: str, number: int, seconds: float) -> bool:
    """Whether that round of the case, as long as asked for, is not on record, nor a failure."""
    known = _known(store, case, environment_id)
    long_enough = {each.round for each in known.rounds if each.seconds >= seconds / PROFILE_ROUNDS}
    return not known.failure and number not in long_enough


def _profile(
    case: Case,
    number: int,
    seconds: float,
    store: Store,
    environment: Environment,
    template: Template,
    source: Source | None,
    traces: Path | None,
) -> Profile | Failure:
    """One case in a process of its own, onto the record. Raises TemplateDiedError."""
    here = environment.environment_id
    plan = ProfilePlan(
        seconds=seconds / PROFILE_ROUNDS,
        observe_s=OBSERVE_S if number == 1 else 0.0,
        peaks=peaks_for(store.of(None, here), case, here) is None,
        trace=traces is not None,
    )
    record: Profile | Failure
    try:
        answer = _answer(template, Job(case, number, PRESETS["quick"], None, source, plan))
    except CaseError as error:
        record = Failure(
            run_id=environment.run_id,
            case_id=case.case_id,
            case=case,
            environment_id=here,
            round=number,
            stage="profile",
            error=error.error,
            message=without_paths(_with_stage(error)),
            stderr_tail=without_paths(error.stderr_tail),
        )
    else:
        record = _record(case, number, plan.seconds, environment, answer)
        _keep_peaks(case, store, environment, answer)
        if traces is not None and answer.trace is not None:
            write_pages(traces, {f"{case.case_id}-{number}.json": answer.trace})
    store.append(record)
    return record


def _answer(template: Template, job: Job) -> Profiled:
    """What a child says of its case. Raises CaseError or TemplateDiedError."""
    child = template.fork(job)
    answer = child.answer(DEADLINE_S)
    if not isinstance(answer, Profiled):
        child.kill()
        raise CaseError("profile", "Protocol", f"got {type(answer).__name__}")
    child.end()
    return answer


def _with_stage(error: CaseError) -> str:
    return error.message if error.stage == "profile" else f"at {error.stage}: {error.message}"


def _record(
    case: Case, number: int, seconds: float, environment: Environment, answer: Profiled
) -> Profile:
    return Profile(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
        round=number,
        seconds=seconds,
        rows=answer.rows,
        waterfall=answer.waterfall,
        utilisation=answer.utilisation,
        plain_samples_s=answer.plain_samples_s,
        profiled_samples_s=answer.profiled_samples_s,
        events=answer.events,
    )


def _keep_peaks(case: Case, store: Store, environment: Environment, answer: Profiled) -> None:
    if answer.macs_per_s is None or answer.bytes_per_s is None:
        return
    store.append(
        Peaks(
            run_id=environment.run_id,
            environment_id=environment.environment_id,
            precision=case.precision,
            threads=case.threads,
            macs_per_s=answer.macs_per_s,
            bytes_per_s=answer.bytes_per_s,
        )
    )

"""The parent that profiles: one process a case, one after another, onto the same record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.messages import Job, Profiled
from bench.plan import PRESETS, ProfilePlan
from bench.profiling.recorded import on_record, peaks_for
from bench.records import Case, Environment, Failure, Peaks, Profile, Source
from bench.report.pages import write_pages
from bench.runner import without_paths
from bench.store import Store
from bench.template import CaseError, Template, TemplateDiedError

DEADLINE_S = 600.0
Say = Callable[[Profile | Failure], None]


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
) -> list[Profile | Failure]:
    """Profile what `store` lacks of `cases`; what is then on record of each, in their order.

    Blocks of each last for `seconds`. With `traces` each trace goes into that folder, and what is
    on record is profiled anew. Each record is told to `say` as it comes. Raises UsageError where
    measuring processes are killed.
    """
    here = environment.environment_id
    todo = []
    for case in cases:
        known = on_record(store.records, case, here)
        if known is None or traces or (retry_failed and isinstance(known, Failure)):
            todo.append(case)
    if todo:
        store.append(environment)
        with Template(todo[0].device) as template:
            for case in todo:
                source = (sources or {}).get(case.model)
                say(_profile(case, seconds, store, environment, template, source, traces))
    found = [on_record(store.records, case, here) for case in cases]
    return [record for record in found if record is not None]


def _profile(
    case: Case,
    seconds: float,
    store: Store,
    environment: Environment,
    template: Template,
    source: Source | None,
    traces: Path | None,
) -> Profile | Failure:
    """One case in a process of its own."""
    here = environment.environment_id
    wants_peaks = peaks_for(store.records, case, here) is None
    plan = ProfilePlan(seconds=seconds, peaks=wants_peaks, trace=traces is not None)
    job = Job(case, 1, PRESETS["quick"], None, source, plan)
    try:
        child = template.fork(job)
        answer = child.answer(DEADLINE_S)
        child.end()
        if not isinstance(answer, Profiled):
            raise CaseError("profile", "Protocol", f"got {type(answer).__name__}")
    except TemplateDiedError:
        raise UsageError(
            "the measuring processes were killed",
            "Look for what kills them (`dmesg` names the out-of-memory killer); "
            "what was profiled is on record, and the same command goes on.",
        ) from None
    except CaseError as error:
        record: Profile | Failure = Failure(
            run_id=environment.run_id,
            case_id=case.case_id,
            case=case,
            environment_id=here,
            round=1,
            stage="profile",
            error=error.error,
            message=without_paths(_with_stage(error)),
            stderr_tail=without_paths(error.stderr_tail),
        )
    else:
        record = _record(case, environment, answer)
        _keep_peaks(case, store, environment, answer)
        if traces is not None and answer.trace is not None:
            write_pages(traces, {f"{case.case_id}.json": answer.trace})
    store.append(record)
    return record


def _with_stage(error: CaseError) -> str:
    return error.message if error.stage == "profile" else f"at {error.stage}: {error.message}"


def _record(case: Case, environment: Environment, answer: Profiled) -> Profile:
    return Profile(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
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

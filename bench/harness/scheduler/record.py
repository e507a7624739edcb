"""Builds the record of a case-round from the child's report and the parent's observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import structs

from bench.analysis.verdict import jump_reasons
from bench.harness.protocol.messages import CaseFacts, Finished, Observed
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError
from bench.harness.scheduler.environment import runtime_of
from bench.records import Case, Conditions, Environment, Failure, Measurement, Stage
from bench.records.environment import clock_limits
from bench.text import without_paths


class RoundContext(NamedTuple):
    """What the parent knows about a round that its children do not.

    `share_s` is the case's share of the template's start-up time: seconds / number of cases.
    `sitting` numbers the wave of cases that took turns. `foreign_processes` counts the processes
    of other programs on the chip before the round (None: unknown). `warnings` go into the record.
    """

    share_s: float
    sitting: int
    foreign_processes: int | None
    warnings: Sequence[str]


def measurement(
    environment: Environment,
    measured: CaseRound,
    finished: Finished,
    observed: Observed,
    context: RoundContext,
) -> Measurement:
    """Return the record of a successful case-round. The caller sets `stopped_by` afterwards."""
    case, facts = measured.case, finished.facts
    conditions = _declared(finished.conditions, environment, context.foreign_processes)
    if (counted_s := measured.counted_s) is not None:
        conditions = structs.replace(conditions, counted_s=counted_s, waited_s=measured.waited_s)
    jumps = [reason.text for reason in jump_reasons(conditions)]
    return Measurement(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
        round=measured.job.round,
        **_of_blocks(measured),
        stages_s=structs.replace(finished.stages, observe=observed.seconds),
        cost=facts.cost,
        stopped_by="round",
        discarded=finished.discarded,
        share_s=context.share_s,
        structure=facts.structure,
        check=facts.check,
        preset=measured.job.plan.preset,
        passport=facts.passport,
        warnings=[*too_many_threads(case, environment), *context.warnings, *jumps, *facts.notes],
        conditions=conditions,
        steady=finished.steady,
        sitting=context.sitting,
        settings=finished.settings,
        telemetry=observed.telemetry,
        files=facts.files,
        changed=finished.changed,
        unattributed=finished.unattributed,
        calls_per_sample=measured.calls_per_sample,
        unseen_s=finished.unseen_s,
        repeated_s=finished.repeated_s,
        disturbed_by=measured.disturbed_by,
        rested_s=measured.rested_s,
        artifact=facts.artifact,
        runtime=runtime_of(case),
    )


def _of_blocks(measured: CaseRound) -> dict[str, Any]:
    """Return the fields of a Measurement that have a value per sample or per block."""
    blocks = measured.blocks
    return {
        "samples_s": measured.samples,
        "block_sizes": [len(block.samples_s) for block in blocks],
        "block_starts_s": [block.start_s for block in blocks],
        "block_compute_s": [block.compute_s for block in blocks],
        "block_memory_s": [block.memory_s for block in blocks],
        "device_samples_s": [s for block in blocks for s in block.device_samples_s],
        "block_pipelined_s": [b.pipelined_s for b in blocks if b.pipelined_s is not None],
        "parts_s": {
            name: [seconds for block in blocks for seconds in block.parts_s[name]]
            for name in blocks[0].parts_s
        },
        "late": _total([block.late for block in blocks]),
        "dropped": _total([block.dropped for block in blocks]),
        "block_levels": [block.level for block in blocks if block.level is not None],
    }


def _total(counts: Sequence[int | None]) -> int | None:
    """Return the sum of what was counted; None where nothing was."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def failure(
    environment: Environment,
    case: Case,
    round_number: int,
    error: CaseError,
    *,
    stage: Stage | None = None,
    warnings: Sequence[str] = (),
) -> Failure:
    """Return the record of a failed case-round; `stage` replaces the stage of the error.

    Absolute paths are removed from the message and from the output.
    """
    return Failure(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
        round=round_number,
        stage=stage or error.stage,
        error=error.error,
        message=without_paths(error.message),
        stderr_tail=without_paths(error.stderr_tail),
        warnings=list(warnings),
        runtime=runtime_of(case),
    )


def too_many_threads(case: Case, environment: Environment) -> list[str]:
    """Return a warning if the case has more threads than this process may use CPUs, else []."""
    usable = environment.chip.threads
    if case.threads > usable:
        return [f"{case.threads} threads on {usable} usable CPUs"]
    return []


def _declared(
    conditions: Conditions, environment: Environment, foreign_processes: int | None
) -> Conditions:
    """Return the conditions with what the run declared: foreign processes and settings of a board.

    A board that the round met in another power mode, or with other limits of its clock, than the
    run has both on record.
    """
    facts = environment.chip.facts
    mode = facts.get("power_mode")
    return structs.replace(
        conditions,
        foreign_processes=foreign_processes,
        power_modes=_first(None if mode is None else str(mode), conditions.power_modes),
        clock_limits=_first(clock_limits(facts), conditions.clock_limits),
    )


def _first(declared: str | None, seen: list[str]) -> list[str]:
    """Return what was seen after what was declared; nothing where nothing was seen."""
    return list(dict.fromkeys([declared, *seen])) if declared and seen else seen


def case_facts(rounds: Sequence[Measurement]) -> CaseFacts | None:
    """Return the facts that the first round found out, or None before the first round."""
    if not rounds:
        return None
    first = rounds[0]
    return CaseFacts(
        first.check,
        first.cost,
        first.structure,
        first.passport,
        first.files,
        artifact=first.artifact,
    )

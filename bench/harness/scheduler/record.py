"""The record of a case-round, put together from what the child reported and the parent knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from bench.analysis.verdict import of_clocks
from bench.harness.protocol.messages import Finished, Observed
from bench.harness.scheduler.case_round import CaseRound
from bench.harness.scheduler.child import CaseError
from bench.records import Case, Conditions, Environment, Failure, Measurement, Stage
from bench.text import without_paths


class Surroundings(NamedTuple):
    """What the parent knows of a round besides its children.

    `share_s` is the case's share of the seconds that starting the template took, `sitting` the
    number of the wave whose cases took turns, `foreign_processes` how many processes of others
    were on the chip before the round, `warnings` what a reader of the record must know.
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
    around: Surroundings,
) -> Measurement:
    """The record of a case-round that succeeded; `stopped_by` is left at "round"."""
    blocks, case = measured.blocks, measured.case
    conditions = _declared(finished.conditions, environment, around.foreign_processes)
    jumps = [reason.seen for reason in of_clocks(conditions)]
    return Measurement(
        run_id=environment.run_id,
        case_id=case.case_id,
        case=case,
        environment_id=environment.environment_id,
        round=measured.job.round,
        samples_s=measured.samples,
        block_sizes=[len(block.samples_s) for block in blocks],
        block_starts_s=[block.start_s for block in blocks],
        stages_s=structs.replace(finished.stages, observe=observed.seconds),
        cost=finished.known.cost,
        stopped_by="round",
        discarded=finished.discarded,
        share_s=around.share_s,
        structure=finished.known.structure,
        check=finished.known.check,
        preset=measured.job.plan.preset,
        passport=finished.known.passport,
        warnings=[*too_many_threads(case, environment), *around.warnings, *jumps],
        block_compute_s=[block.compute_s for block in blocks],
        block_memory_s=[block.memory_s for block in blocks],
        conditions=conditions,
        steady=finished.steady,
        sitting=around.sitting,
        device_samples_s=[s for block in blocks for s in block.device_samples_s],
        block_pipelined_s=[b.pipelined_s for b in blocks if b.pipelined_s is not None],
        settings=finished.settings,
        telemetry=observed.telemetry,
    )


def failure(
    environment: Environment,
    case: Case,
    round_number: int,
    error: CaseError,
    *,
    stage: Stage | None = None,
    warnings: Sequence[str] = (),
) -> Failure:
    """The record of a case-round that failed, at the stage of the error unless one is named."""
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
    )


def too_many_threads(case: Case, environment: Environment) -> list[str]:
    """A warning where the case has more threads than this process may use CPUs."""
    usable = environment.chip.threads
    if case.threads > usable:
        return [f"{case.threads} threads on {usable} usable CPUs"]
    return []


def _declared(
    conditions: Conditions, environment: Environment, foreign_processes: int | None
) -> Conditions:
    """The conditions, with the processes of others and the power mode that the run declared."""
    mode = environment.chip.facts.get("power_mode")
    modes = conditions.power_modes
    if mode is not None and modes:
        modes = list(dict.fromkeys([str(mode), *modes]))
    return structs.replace(conditions, foreign_processes=foreign_processes, power_modes=modes)

"""`bench run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from bench.analysis.profile.recorded import ProfileHistory
from bench.cli.choice import choose, paced
from bench.cli.console import progress_console, tell_json
from bench.cli.curve import doubled, measure_curve, span_of, tell_curves
from bench.cli.forecast import forecast
from bench.cli.measure import measure
from bench.cli.options import (
    Options,
    budget_option,
    dry_run_option,
    pace_option,
    patience_option,
    rounds_option,
    with_options,
)
from bench.cli.outcome import outcome_of
from bench.cli.profile import failures_of, profile_cases
from bench.cli.sweep import Sweep, case_count, conclude, locked, sweep_of
from bench.errors import UsageError
from bench.harness import suite as suites
from bench.harness.plan import PROFILE_S, Plan
from bench.records import scenario


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """The flags of `bench run`."""

    rounds: Annotated[int | None, rounds_option] = None
    budget: Annotated[float | None, budget_option] = None
    patience: Annotated[float, patience_option] = 0.0
    pace: Annotated[str | None, pace_option] = None
    dry_run: Annotated[bool, dry_run_option] = False


@with_options(RunOptions)
def run(options: RunOptions) -> int:
    """Measure networks. The same command resumes a run that was stopped."""
    console = progress_console(to_stderr=options.as_json)
    options = dataclasses.replace(options, scenario=paced(options.scenario, options.pace))
    span = span_of(options.batch)
    if span:
        options = dataclasses.replace(options, batch=str(span.lowest))
    choice = choose(options, None if options.dry_run else console)
    if span and not all(case.when.has_throughput for case in choice.cases):
        raise UsageError(
            "a curve of the throughput needs calls that follow one another", "Leave out --scenario."
        )
    plan = suites.plan_for(
        options.preset, choice.suite, options.rounds, options.budget, options.patience
    )
    sweep = sweep_of(
        choice, options.out, console, retry_failed=options.retry_failed, again=options.again
    )
    if options.dry_run:
        return forecast(
            sweep if span is None else doubled(sweep, span), plan, as_json=options.as_json
        )
    with locked(sweep, wait=options.wait) as sweep:
        if span:
            sweep = measure_curve(sweep, span, lambda part: _measure(part, plan))
        else:
            _measure(sweep, plan)
        profiles = _profile(sweep, PROFILE_S[options.preset])
        outcome = outcome_of(sweep)
    outcome.show(console)
    if span:
        tell_curves(sweep)
    exit_code = conclude(sweep, [*outcome.failures, *failures_of(profiles)], options.out)
    if options.as_json:
        tell_json(outcome.to_builtins())
    return exit_code


def _measure(sweep: Sweep, plan: Plan) -> None:
    measure(sweep, plan, f"Measuring {case_count(sweep.cases)} with preset {plan.preset}")


def _profile(sweep: Sweep, seconds: float) -> Sequence[ProfileHistory]:
    """Profile the cases at batch 1 if the suite has `profile = true` and the device runs torch.

    `seconds` is the time per case. Returns [] if nothing is profiled.
    """
    cases = [case for case in sweep.cases if case.batch == 1 and case.scenario == scenario.TIGHT]
    if not (sweep.choice.suite.profile and cases and sweep.choice.driver.runs_torch):
        return []
    return profile_cases(sweep.with_cases(cases), seconds)

"""Measuring what a sweep lacks, with progress: shared by `bench run` and `bench replay`."""

from __future__ import annotations

from bench.cli.forecast import progress_of
from bench.cli.live_table import LiveTable
from bench.cli.plain_lines import PlainLines
from bench.cli.sweep import Sweep, start
from bench.cli.tracker import Tracker
from bench.harness.plan import Plan
from bench.harness.scheduler import runner
from bench.records import Failure


def measure(sweep: Sweep, plan: Plan, heading: str) -> list[Failure]:
    """Measure the rounds that are not on record yet, and return the failures on record."""
    here = sweep.environment.environment_id
    histories = {case: sweep.store.history(case, here) for case in sweep.cases}
    progress = progress_of(sweep, plan, histories)
    start(sweep, heading, needs_device=bool(progress))
    display_type = LiveTable if sweep.console.is_terminal else PlainLines
    with display_type(sweep.console, Tracker(plan, progress)) as display:
        return runner.run(
            sweep.cases,
            plan,
            sweep.store,
            sweep.environment,
            display,
            retry_failed=sweep.retry_failed,
            again=sweep.again,
            sources=sweep.choice.sources,
        )

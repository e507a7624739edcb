"""`bench run --dry-run`: a table of the cases and of the time that each would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from bench import paper
from bench.cli.console import add_row, say, say_table, tell_json
from bench.cli.sweep import Sweep, case_count
from bench.cli.versions import version_change
from bench.errors import CASE_FAILED
from bench.harness.plan import Plan
from bench.harness.scheduler import estimate, trial
from bench.harness.scheduler.environment import is_outdated_for
from bench.models.naming import selector
from bench.records import Case, Environment
from bench.storage.history import History, history
from bench.text import duration


def progress_of(
    sweep: Sweep, plan: Plan, histories: Mapping[Case, History]
) -> dict[Case, estimate.CaseProgress]:
    """Return the cases that need another round, with what is known about their duration."""
    histories = {
        case: History([], None) if sweep.again or is_outdated_for(case, known) else known
        for case, known in histories.items()
    }
    return estimate.initial_progress(plan, histories, paper.macs(), retry_failed=sweep.retry_failed)


def forecast(sweep: Sweep, plan: Plan, *, as_json: bool) -> int:
    """Print each case and the time it would take. Measures and writes nothing.

    Each network that is not on record is built once, and a case whose network cannot be built says
    why; the exit code is then CASE_FAILED, otherwise 0. JSON gives the time in seconds, as
    `about_s`, and the reason as `failure`, or null.
    """
    records, here = sweep.store.records, sweep.environment.environment_id
    histories = {case: history(records, case, here) for case in sweep.cases}
    progress = progress_of(sweep, plan, histories)
    seconds = {
        case: estimate.remaining_s(plan, {case: progress[case]}) if case in progress else 0.0
        for case in sweep.cases
    }
    choice = sweep.choice
    reasons = trial.failing(list(progress), choice.sources, choice.built)
    exit_code = CASE_FAILED if reasons else 0
    if as_json:
        tell_json([_to_builtins(case, s, reasons.get(case)) for case, s in seconds.items()])
        return exit_code
    times = {case: "fails" if case in reasons else duration(seconds[case]) for case in progress}
    shown = [times.get(case, "on record") for case in sweep.cases]
    say_table(sweep.console, table_of(sweep.cases, shown))
    environments = [record for record in records if isinstance(record, Environment)]
    if change := version_change(environments, sweep.environment):
        say(sweep.console, change)
    total = duration(sum(seconds.values()))
    say(sweep.console, f"{case_count(sweep.cases)}, about {total} in total; nothing was measured")
    for case, reason in reasons.items():
        say(sweep.console, f"{selector(case)} cannot be built: {' '.join(reason.split())}")
    return exit_code


def _to_builtins(case: Case, about_s: float, failure: str | None) -> dict[str, object]:
    return {"case": msgspec.to_builtins(case), "about_s": about_s, "failure": failure}


def table_of(cases: Sequence[Case], times: Sequence[str]) -> Table:
    """Return a table of the cases and the time of each."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "threads", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case, time in zip(cases, times, strict=True):
        add_row(table, selector(case), str(case.batch), str(case.threads), time)
    return table

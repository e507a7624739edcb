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
    seconds, choice = remaining(sweep, plan), sweep.choice
    todo = [case for case, about_s in seconds.items() if about_s is not None]
    reasons = trial.failing(todo, choice.sources, choice.built)
    exit_code = CASE_FAILED if reasons else 0
    if as_json:
        tell_json(to_builtins(seconds, reasons))
        return exit_code
    show(sweep, seconds, reasons)
    environments = [each for each in sweep.store.records if isinstance(each, Environment)]
    if change := version_change(environments, sweep.environment):
        say(sweep.console, change)
    say(sweep.console, f"{total(seconds)} in total; nothing was measured")
    for case, reason in reasons.items():
        say(sweep.console, f"{selector(case)} cannot be built: {' '.join(reason.split())}")
    return exit_code


Seconds = Mapping[Case, "float | None"]


def remaining(sweep: Sweep, plan: Plan) -> dict[Case, float | None]:
    """Return the seconds that each case would still take, None for one that is on record."""
    records, here = sweep.store.records, sweep.environment.environment_id
    histories = {case: history(records, case, here) for case in sweep.cases}
    progress = progress_of(sweep, plan, histories)
    return {
        case: estimate.remaining_s(plan, {case: progress[case]}) if case in progress else None
        for case in sweep.cases
    }


def show(sweep: Sweep, seconds: Seconds, reasons: Mapping[Case, str]) -> None:
    """Print the table of the cases, with the time of each."""
    times = ["on record" if each is None else duration(each) for each in seconds.values()]
    shown = ["fails" if c in reasons else t for c, t in zip(seconds, times, strict=True)]
    say_table(sweep.console, table_of(list(seconds), shown))


def total(seconds: Seconds) -> str:
    """Return `14 cases, about 12 min`."""
    return f"{case_count(list(seconds))}, about {duration(sum(filter(None, seconds.values())))}"


def to_builtins(seconds: Seconds, reasons: Mapping[Case, str]) -> list[dict[str, object]]:
    """Return the cases, their seconds and why they cannot be built, for JSON."""
    return [
        {
            "case": msgspec.to_builtins(case),
            "about_s": about_s or 0.0,
            "failure": reasons.get(case),
        }
        for case, about_s in seconds.items()
    ]


def table_of(cases: Sequence[Case], times: Sequence[str]) -> Table:
    """Return a table of the cases and the time of each."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "threads", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case, time in zip(cases, times, strict=True):
        add_row(table, selector(case), str(case.batch), str(case.threads), time)
    return table

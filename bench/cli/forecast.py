"""`bench run --dry-run`: a table of the cases and of the time that each would take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from bench import paper
from bench.cli.console import say
from bench.cli.sweep import Sweep, case_count
from bench.cli.versions import version_change
from bench.harness.plan import Plan
from bench.harness.scheduler import estimate
from bench.models.naming import selector
from bench.records import Case, Environment
from bench.storage.history import History, history
from bench.text import duration


def progress_of(
    sweep: Sweep, plan: Plan, histories: Mapping[Case, History]
) -> dict[Case, estimate.CaseProgress]:
    """Return the cases that need another round, with what is known about their duration."""
    if sweep.again:
        histories = dict.fromkeys(histories, History([], None))
    return estimate.initial_progress(plan, histories, paper.macs(), retry_failed=sweep.retry_failed)


def forecast(sweep: Sweep, plan: Plan, *, as_json: bool) -> None:
    """Print each case and the time it would take. Measures and writes nothing.

    JSON gives the time in seconds, as `about_s`.
    """
    records, here = sweep.store.records, sweep.environment.environment_id
    histories = {case: history(records, case, here) for case in sweep.cases}
    progress = progress_of(sweep, plan, histories)
    seconds = {
        case: estimate.remaining_s(plan, {case: progress[case]}) if case in progress else 0.0
        for case in sweep.cases
    }
    if as_json:
        rows = [{"case": msgspec.to_builtins(case), "about_s": s} for case, s in seconds.items()]
        print(json.dumps(rows))
        return
    times = [duration(seconds[case]) if case in progress else "on record" for case in sweep.cases]
    sweep.console.print(_table(sweep.cases, times))
    environments = [record for record in records if isinstance(record, Environment)]
    if change := version_change(environments, sweep.environment):
        say(sweep.console, change)
    total = duration(sum(seconds.values()))
    say(sweep.console, f"{case_count(sweep.cases)}, about {total} in total; nothing was measured")


def _table(cases: Sequence[Case], times: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "threads", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case, time in zip(cases, times, strict=True):
        table.add_row(selector(case), str(case.batch), str(case.threads), time)
    return table

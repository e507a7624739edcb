"""How long a run would take: the table of `bench run --dry-run`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from bench import paper
from bench.cli.console import say
from bench.cli.sweep import Sweep, count
from bench.harness.plan import Plan
from bench.harness.scheduler import estimate
from bench.models.naming import selector
from bench.records import Case
from bench.storage.history import History, history
from bench.text import duration


def progress_of(
    sweep: Sweep, plan: Plan, histories: Mapping[Case, History]
) -> dict[Case, estimate.CaseProgress]:
    """The cases that need a round, and what is known of how long it takes."""
    return estimate.initial(plan, histories, paper.macs(), retry_failed=sweep.retry_failed)


def forecast(sweep: Sweep, plan: Plan, *, as_json: bool) -> None:
    """Print each case with the seconds that it would take; measure and write nothing."""
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
    total = duration(sum(seconds.values()))
    say(sweep.console, f"{count(sweep.cases)}, about {total} in all; nothing was measured")


def _table(cases: Sequence[Case], times: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "threads", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case, time in zip(cases, times, strict=True):
        table.add_row(selector(case), str(case.batch), str(case.threads), time)
    return table

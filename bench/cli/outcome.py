"""The results of a run: the table that `bench run` prints at its end, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from bench.analysis.gpu_metrics import gpu_metrics
from bench.analysis.interval import interval
from bench.analysis.recorded import Recorded
from bench.analysis.stats import summarise
from bench.analysis.verdict import Verdict, usable_cpus
from bench.cli.console import add_row, say, say_table
from bench.cli.messages import number_cells
from bench.cli.sweep import Sweep
from bench.models import labels
from bench.models.naming import selector
from bench.records import Case, Failure, of_cases
from bench.storage.history import History


class Outcome(NamedTuple):
    """The recorded history of each case of a sweep, and the verdict on each measured case."""

    histories: Mapping[Case, History]
    verdicts: Mapping[Case, Verdict]

    @property
    def failures(self) -> list[Failure]:
        """The failure of each case whose last attempt failed."""
        return [failure for _, failure in self.histories.values() if failure]

    def show(self, console: Console) -> None:
        """Print a table of all cases, then a line for each case that is not VALID."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("", no_wrap=True, overflow="ellipsis")
        for heading in ("batch", "latency (ms)", "img/s", "mean ± std of all", "n"):
            table.add_column(heading, justify="right", no_wrap=True)
        for case, (rounds, failure) in self.histories.items():
            grouped = any(record.calls_per_sample > 1 for record in rounds)
            processes = [record.samples_s for record in rounds]
            known = summarise(processes, grouped=grouped) if rounds else None
            latency, speed, count = number_cells(case, known)
            cells = (latency, speed, known.spread_ms if known else "", count)
            if failure:
                cells = (f"failed: {failure.stage}", "", "", "")
            add_row(table, selector(case), str(case.batch), *cells)
        say(console, "")
        say_table(console, table)
        say(console, "")
        for case, verdict in self.verdicts.items():
            if verdict.reasons:
                say(console, f"{selector(case)} at batch {case.batch} is {verdict.text}")

    def to_builtins(self) -> list[dict[str, object]]:
        """Return one dictionary per case, for JSON; times are in seconds."""
        return [
            _to_builtins(case, known, self.verdicts.get(case))
            for case, known in self.histories.items()
        ]


def outcome_of(sweep: Sweep) -> Outcome:
    """Return what the store holds about the cases of a sweep, from this run and earlier runs."""
    records, here = sweep.store.records, sweep.environment.environment_id
    named = labels.merged(labels.on_record(records), sweep.environment.labels)
    unique = labels.settled(named, [case.model for case in sweep.cases])
    cases = [msgspec.structs.replace(c, label=unique.get(c.model, "")) for c in sweep.cases]
    own = [record for record in of_cases(records) if record.environment_id == here]
    recorded = Recorded(sweep.environment, own, usable_cpus=usable_cpus(records))
    histories = {case: recorded.history(case) for case in cases}
    measured = [case for case, (rounds, failure) in histories.items() if rounds and not failure]
    return Outcome(histories, {case: recorded.verdict(case) for case in measured})


def _to_builtins(case: Case, known: History, verdict: Verdict | None) -> dict[str, object]:
    rounds, failure = known
    processes = [record.samples_s for record in rounds]
    grouped = any(record.calls_per_sample > 1 for record in rounds)
    estimate = summarise(processes, grouped=grouped) if rounds else None
    width = interval(rounds)
    return {
        "case_id": case.case_id,
        "case": msgspec.to_builtins(case),
        "latency_s": estimate.latency if estimate else None,
        "interval_s": [width.low, width.high] if width else None,
        "median_s": estimate.median if estimate else None,
        "mean_s": estimate.mean if estimate else None,
        "std_s": estimate.std if estimate and not math.isnan(estimate.std) else None,
        "throughput_img_s": case.throughput(estimate.latency) if estimate else None,
        "samples": estimate.samples if estimate else 0,
        **gpu_metrics(rounds)._asdict(),
        "verdict": verdict.level if verdict else None,
        "doubts": [reason.text for reason in verdict.reasons] if verdict else [],
        "stopped_by": rounds[-1].stopped_by if rounds else None,
        "failure": {"stage": failure.stage, "error": failure.error, "message": failure.message}
        if failure
        else None,
    }

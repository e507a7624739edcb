"""What `bench run` shows while it works: a live table on a terminal, plain lines elsewhere.

Everything is drawn between blocks, from the runner's events; nothing refreshes by itself, since
a timed block wants the machine for itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.analysis.stats import Summary, summarise
from bench.analysis.verdict import Verdict
from bench.harness.plan import Plan
from bench.harness.scheduler.estimate import CaseProgress, planned_rounds, remaining_s, warm_up_s
from bench.records import Case, Failure, Measurement
from bench.storage.results import History
from bench.text import duration, plus_minus, setting, significant

WIDE = 64  # columns of a terminal with room for the number of samples and a remark


class Tracker:
    """Follows a run's events: how far each case is, and how much time is left."""

    def __init__(self, plan: Plan, progress: Mapping[Case, CaseProgress]) -> None:
        self._plan = plan
        self._progress = dict(progress)
        self._began = self._last_event = time.monotonic()
        self._setups: list[float] = []

    def warmed(self, case: Case, iteration_s: float) -> None:
        """A case is ready: how long an iteration takes, and what setting it up did besides."""
        since = self._time_since_last_event()
        self._setups.append(max(since - warm_up_s(self._plan, case.batch, iteration_s), 0.0))
        self._update(case, iteration_s=iteration_s)

    def sampled(self, case: Case, count: int) -> None:
        """So many samples of this round are there."""
        self._time_since_last_event()
        self._update(case, samples=count)

    def measured(self, record: Measurement) -> None:
        """A round is over; a case that was ended needs no more."""
        self._time_since_last_event()
        if record.stopped_by == "round":
            self._update(record.case, rounds_done=record.round, samples=0)
        else:
            self._progress.pop(record.case, None)

    def failed(self, case: Case) -> None:
        """Nothing more is expected of the case."""
        self._time_since_last_event()
        self._progress.pop(case, None)

    def planned(self, case: Case) -> int:
        """How many rounds the case is likely to have."""
        return planned_rounds(self._plan, case, self._progress[case], self._setup_s())

    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def left_s(self) -> float:
        """Seconds left, if setting up goes on to take what it took so far."""
        return remaining_s(self._plan, self._progress, self._setup_s())

    def _setup_s(self) -> float | None:
        return statistics.fmean(self._setups) if self._setups else None

    def _update(self, case: Case, **known: float) -> None:
        self._progress[case] = msgspec.structs.replace(self._progress[case], **known)

    def _time_since_last_event(self) -> float:
        before, self._last_event = self._last_event, time.monotonic()
        return self._last_event - before


class PlainLines:
    """A line when a case first has numbers, and one after each round: for pipes and files."""

    def __init__(self, console: Console, tracker: Tracker) -> None:
        self._console = console
        self._tracker = tracker
        self._seen: set[Case] = set()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """How much is on record already, how long the rest will take."""
        plain(self._console, _opening(todo, done, self._tracker))

    def warmed(self, case: Case, iteration_s: float) -> None:
        """The first row of a case is of its warm-up."""
        self._tracker.warmed(case, iteration_s)
        if case not in self._seen:
            self._seen.add(case)
            plain(self._console, _line(case, summarise([[iteration_s]]), "provisional"))

    def sampled(self, case: Case, earlier: Sequence[float], samples: Sequence[float]) -> None:
        """Counts, but has no line."""
        self._tracker.sampled(case, len(samples))

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A row of all rounds so far."""
        last = rounds[-1]
        self._tracker.measured(last)
        summary = summarise([record.samples_s for record in rounds])
        if last.stopped_by == "round":
            remark = f"round {last.round}, {duration(self._tracker.left_s())} left"
        else:
            remark = f"done after {last.round} ({last.stopped_by})"
        plain(self._console, _line(case, summary, remark))

    def failed(self, record: Failure) -> None:
        """A row for what could not be measured."""
        self._tracker.failed(record.case)
        plain(self._console, _failure(record))


class LiveTable:
    """A table of the cases that take turns now, redrawn between blocks: for terminals."""

    def __init__(self, console: Console, tracker: Tracker) -> None:
        self._console = console
        self._tracker = tracker
        self._rows: dict[Case, tuple[Summary | None, str]] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """All cases wait."""
        plain(self._console, _opening(todo, done, self._tracker))
        self._rows = dict.fromkeys(todo, (None, "waiting"))
        self._draw(todo[0] if todo else None)

    def warmed(self, case: Case, iteration_s: float) -> None:
        """The first row of a case is of its warm-up."""
        self._tracker.warmed(case, iteration_s)
        if self._rows[case][0] is None:
            self._rows[case] = (summarise([[iteration_s]]), "warmed up")
        self._draw(case)

    def sampled(self, case: Case, earlier: Sequence[float], samples: Sequence[float]) -> None:
        """The estimate sharpens."""
        self._tracker.sampled(case, len(samples))
        rounds = self._tracker.planned(case)
        self._rows[case] = (summarise([[*earlier, *samples]]), f"of {rounds} rounds")
        self._draw(case)

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """A round is on record."""
        last = rounds[-1]
        self._tracker.measured(last)
        summary = summarise([record.samples_s for record in rounds])
        ended = last.stopped_by != "round"
        self._rows[case] = (summary, "done" if ended else f"round {last.round} done")
        self._draw(case)

    def failed(self, record: Failure) -> None:
        """Said above the table, so that it stays."""
        self._tracker.failed(record.case)
        self._rows[record.case] = (None, f"failed at {record.stage}")
        plain(self._console, _failure(record))
        self._draw(record.case)

    def _draw(self, now: Case | None) -> None:
        """The group of the case `now`, how far the run is, and how long it will take."""
        group = [case for case in self._rows if now is not None and case.group == now.group]
        wide = self._console.width >= WIDE
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column(f"batch {now.batch}" if now else "", overflow="ellipsis")
        for heading, width in (("latency (ms)", 12), ("img/s", 5), *([("n", 3)] if wide else [])):
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
        if wide:
            table.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
        for case in group:
            summary, remark = self._rows[case]
            latency, speed, count = numbers(case, summary)
            table.add_row(escape(short(case)), latency, speed, *([count, remark] if wide else []))
        self._live.update(Group(table, self._bar()), refresh=True)

    def _bar(self) -> Table:
        elapsed_s, left_s = self._tracker.elapsed_s(), self._tracker.left_s()
        width = 30 if self._console.width >= WIDE else 12
        bar = ProgressBar(total=max(elapsed_s + left_s, 1e-9), completed=elapsed_s, width=width)
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, Text(f"about {duration(left_s)} left", style="dim"))
        return line


def plain(console: Console, line: str) -> None:
    """One line as it is: names may look like markup."""
    console.print(Text(line), soft_wrap=True)


def conclude(
    console: Console,
    histories: Mapping[Case, History],
    verdicts: Mapping[Case, Verdict],
    path: Path,
    next_command: str,
) -> None:
    """A short table of all that was asked for, failures, doubts, where it is, what to type next."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for heading in ("batch", "latency (ms)", "img/s", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case, (rounds, failure) in histories.items():
        summary = summarise([record.samples_s for record in rounds]) if rounds else None
        cells = (f"failed: {failure.stage}", "", "") if failure else numbers(case, summary)
        table.add_row(escape(short(case)), str(case.batch), *cells)
    console.print()
    console.print(table)
    console.print()
    failures = [failure for _, failure in histories.values() if failure]
    for failure in failures:
        plain(console, _failure(failure))
    for case, verdict in verdicts.items():
        if verdict.reasons:
            plain(console, f"{short(case)} at batch {case.batch} is {verdict.text}")
    if failures:
        plain(console, "again:   --retry-failed tries once more what failed")
    plain(console, f"results: {path}")
    plain(console, f"next:    {next_command}")


def short(case: Case) -> str:
    """The model with its form, and what sets the case apart from the usual one."""
    return case.name + setting(case.backend, case.precision, case.resolution)


def numbers(case: Case, summary: Summary | None) -> tuple[str, str, str]:
    """Latency with its spread, throughput and number of samples; blank before there are any."""
    if summary is None:
        return ("", "", "")
    return (
        plus_minus(summary.mean * 1e3, summary.std * 1e3),
        significant(case.batch / summary.median),
        str(summary.samples),
    )


def _failure(record: Failure) -> str:
    """What could not be measured, where it stopped and why, in one line."""
    case, message = record.case, " ".join(record.message.split())
    what = f"{short(case)} at batch {case.batch} failed at {record.stage}"
    return f"{what}: {record.error}: {message}"


def _opening(todo: Sequence[Case], done: Sequence[Case], tracker: Tracker) -> str:
    on_record = f"{len(done)} on record already, " if done else ""
    left = f", about {duration(tracker.left_s())}" if todo else ""
    return f"{on_record}{len(todo)} to measure{left}"


def _line(case: Case, summary: Summary, remark: str) -> str:
    latency, speed, count = numbers(case, summary)
    name = f"{short(case):<32} batch {case.batch:<4}"
    return f"{name} {latency:>14} ms {speed:>6} img/s  n={count:<5} {remark}"

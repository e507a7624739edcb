"""Progress in a pipe or a file: plain lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from bench.analysis.disturbance import undisturbed
from bench.analysis.stats import summarise
from bench.cli import interrupts
from bench.cli.console import say
from bench.cli.messages import FIRST_WAIT, case_line, disturbance_lines, failure_line, start_line
from bench.cli.tracker import Tracker
from bench.devices import DEVICES
from bench.harness.scheduler.listener import Listener
from bench.records import Case, Failure, Measurement
from bench.text import duration


class PlainLines(Listener):
    """Prints a line after the first warm-up of a case, and a line after each of its rounds."""

    def __init__(self, console: Console, tracker: Tracker) -> None:
        self._console = console
        self._tracker = tracker
        self._seen: set[Case] = set()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: plain lines need no clean-up."""

    def started(self, todo: Sequence[Case], done: Sequence[Case]) -> None:
        """Print how many cases are on record, and how long the other cases will take."""
        say(self._console, start_line(todo, done, self._tracker))
        if todo and DEVICES[todo[0].device].runs_torch:
            say(self._console, FIRST_WAIT)

    def warmed(self, case: Case, iteration_s: float) -> None:
        """Print the first latency of a case, measured at the end of its warm-up."""
        self._tracker.warmed(case, iteration_s)
        if case not in self._seen:
            self._seen.add(case)
            say(self._console, case_line(case, summarise([[iteration_s]]), "provisional"))

    def sampled(
        self, case: Case, earlier: Sequence[Sequence[float]], samples: Sequence[float]
    ) -> None:
        """Count the samples; no line is printed for a block."""
        interrupts.check()
        self._tracker.sampled(case, len(samples))

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """Print the numbers from all rounds so far."""
        last = rounds[-1]
        self._tracker.measured(last)
        for line in disturbance_lines(last):
            say(self._console, line)
        calm = undisturbed(rounds)
        grouped = any(record.calls_per_sample > 1 for record in calm)
        summary = summarise([record.samples_s for record in calm], grouped=grouped)
        if last.stopped_by == "round":
            remark = f"round {last.round}, {duration(self._tracker.left_s())} left"
        else:
            remark = f"done after {last.round} ({last.stopped_by})"
        say(self._console, case_line(case, summary, remark))

    def failed(self, record: Failure) -> None:
        """Print why the case failed."""
        self._tracker.failed(record.case)
        say(self._console, failure_line(record))

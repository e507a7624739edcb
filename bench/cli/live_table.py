"""Progress on a terminal: a table that is redrawn in place."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.analysis.disturbance import undisturbed
from bench.analysis.stats import Summary, summarise
from bench.cli import interrupts
from bench.cli.console import add_row, say
from bench.cli.messages import disturbance_lines, failure_line, number_cells, start_line
from bench.cli.tracker import Tracker
from bench.harness.plan import GROUPED_BELOW_S
from bench.harness.scheduler.listener import Listener
from bench.models.naming import selector
from bench.records import Case, Failure, Measurement
from bench.text import duration

WIDE = 64  # terminal columns that also fit the number of samples and a remark


class LiveTable(Listener):
    """A table of the cases that take turns now.

    It is redrawn only when the runner reports an event, which is between blocks. A timer would
    redraw inside a timed block and disturb the measurement.
    """

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
        """Show each case as waiting."""
        say(self._console, start_line(todo, done, self._tracker))
        self._rows = dict.fromkeys(todo, (None, "waiting"))
        if todo:
            self._rows[todo[0]] = (None, "starting: imports torch and timm")
        self._draw(todo[0] if todo else None)

    def preparing(self, case: Case) -> None:
        """Show that the network of the case is being built, checked and warmed up."""
        if self._rows[case][0] is None:
            self._rows[case] = (None, "builds, checks, warms up")
        self._draw(case)

    def warmed(self, case: Case, iteration_s: float) -> None:
        """Show the first latency of a case, measured at the end of its warm-up."""
        self._tracker.warmed(case, iteration_s)
        if self._rows[case][0] is None:
            self._rows[case] = (summarise([[iteration_s]]), "warmed up")
        self._draw(case)

    def sampled(
        self, case: Case, earlier: Sequence[Sequence[float]], samples: Sequence[float]
    ) -> None:
        """Show the numbers from all samples so far."""
        interrupts.check()
        self._tracker.sampled(case, len(samples))
        rounds = self._tracker.planned(case)
        self._rows[case] = (_provisional([*earlier, samples]), f"of {rounds} rounds")
        self._draw(case)

    def measured(self, case: Case, rounds: Sequence[Measurement]) -> None:
        """Show that the case has finished a round."""
        last = rounds[-1]
        self._tracker.measured(last)
        for line in disturbance_lines(last):
            say(self._console, line)
        calm = undisturbed(rounds)
        grouped = any(record.calls_per_sample > 1 for record in calm)
        summary = summarise([record.samples_s for record in calm], grouped=grouped)
        ended = last.stopped_by != "round"
        self._rows[case] = (summary, "done" if ended else f"round {last.round} done")
        self._draw(case)

    def failed(self, record: Failure) -> None:
        """Print the failure above the table, so that it stays on the screen."""
        self._tracker.failed(record.case)
        self._rows[record.case] = (None, f"failed at {record.stage}")
        say(self._console, failure_line(record))
        self._draw(record.case)

    def _draw(self, now: Case | None) -> None:
        """Draw the cases that take turns with the case `now`, and a progress bar."""
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
            latency, speed, count = number_cells(case, summary)
            add_row(table, selector(case), latency, speed, *([count, remark] if wide else []))
        self._live.update(Group(table, self._bar()), refresh=True)

    def _bar(self) -> Table:
        elapsed_s, left_s = self._tracker.elapsed_s(), self._tracker.left_s()
        width = 30 if self._console.width >= WIDE else 12
        bar = ProgressBar(total=max(elapsed_s + left_s, 1e-9), completed=elapsed_s, width=width)
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, Text(f"about {duration(left_s)} left", style="dim"))
        return line


def _provisional(processes: Sequence[Sequence[float]]) -> Summary:
    """Return the numbers so far, without ± for calls so short that groups of them are timed."""
    return summarise(processes, grouped=min(map(min, processes)) < GROUPED_BELOW_S)

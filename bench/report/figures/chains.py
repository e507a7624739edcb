"""The speed-ups of forms over the network as trained, ours and the paper's. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bench import paper
from bench.analysis.ratio import compare
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import forms
from bench.records import Case
from bench.report import doubts
from bench.report.devices import DeviceResults
from bench.report.figures.canvas import fitted
from bench.report.figures.titles import settings_of, title_of
from bench.report.tables.layouts import OF_TABLE_6, PaperDevice

BATCH = 1
BASE = forms.REFERENCE
TABLES = (4, 5, 2, 3, 6)  # the paper's tables, in order of preference for a ratio
LONGEST_TITLE = 60
WIDEST = 100  # letters on one line
REACH = 4.0  # an interval further from its ratio than this factor is cut there


class Step(NamedTuple):
    """latency(train) / latency(form): our ratio, its interval, and the paper's; None if unknown.

    The paper's ratio is that on its device of the same kind: a CPU's is next to the paper's CPU.
    `level`: the worse verdict of the two latencies. `marks`: the marks from `doubts.marks`.
    """

    form: str
    ratio: float
    interval: Estimate | None
    reported: float | None
    level: str
    marks: str

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, cut REACH times from the ratio; twice the ratio without one."""
        if not self.interval:
            return self.ratio, self.ratio
        return max(self.interval.low, self.ratio / REACH), min(
            self.interval.high, self.ratio * REACH
        )

    @property
    def is_cut(self) -> tuple[bool, bool]:
        """Whether `ends` cuts the lower and the upper end of the interval."""
        if not self.interval:
            return False, False
        return self.interval.low < self.ends[0], self.interval.high > self.ends[1]


class Chain(NamedTuple):
    """A model in one setting, and the speed-ups of its forms."""

    name: str
    steps: list[Step]


class Panel(NamedTuple):
    """One device; `theirs` is the paper's device of the same kind, None without one."""

    name: str
    settings: str
    theirs: PaperDevice | None
    chains: list[Chain]

    @property
    def title(self) -> str:
        """The device with its settings, and whose marks the hollow ones are."""
        has_marks = any(step.reported for chain in self.chains for step in chain.steps)
        hollow = f"; hollow: {self.theirs.name} of the paper" if self.theirs and has_marks else ""
        about = f"{self.settings}{hollow}"
        return (
            f"{self.name}: {about}" if len(self.name + about) < WIDEST else f"{self.name}:\n{about}"
        )


def panel(device: DeviceResults) -> Panel:
    """A chain per model measured as trained and in another form, in the order of the rows."""
    theirs = next((each for each in OF_TABLE_6 if each.kind == device.kind), None)
    found: dict[Case, dict[str, Row]] = {}
    for row in device.rows:
        if row.summary and row.case.batch == BATCH:
            alike = msgspec.structs.replace(row.case, form=BASE)
            found.setdefault(alike, {})[row.case.form] = row
    shown = [by for by in found.values() if BASE in by and _others(by)]
    return Panel(
        name=fitted(device.label, LONGEST_TITLE),
        settings=settings_of([row.case for by in shown for row in by.values()]),
        theirs=theirs,
        chains=[
            Chain(title_of(by[BASE]), [_step(by[BASE], row, theirs) for row in _others(by)])
            for by in shown
        ],
    )


def _others(by_form: Mapping[str, Row]) -> list[Row]:
    """The forms that the figure compares with BASE, in the order of the table of forms."""
    return [by_form[form.name] for form in forms.in_order(by_form) if form.colour]


def _step(base: Row, row: Row, theirs: PaperDevice | None) -> Step:
    found = compare(base.rounds, row.rounds)
    ratio = found.ratio
    return Step(
        form=row.case.form,
        ratio=1 / ratio.point if ratio else found.base_s / found.candidate_s,
        interval=Estimate(*map(_inverse, (ratio.point, ratio.high, ratio.low))) if ratio else None,
        reported=_reported(row.case, theirs.key) if theirs else None,
        level=doubts.level(base, row),
        marks=doubts.marks(base, row),
    )


def _inverse(value: float) -> float:
    return 1 / value if value else math.inf


def _reported(case: Case, device: str) -> float | None:
    """The ratio on a device of the paper: two rows of one table, at the case's resolution."""
    for table in TABLES:
        forms = [paper.find(table, device, case.model, form) for form in (BASE, case.form)]
        base, row = (
            each.latency_ms if each and each.input_size == case.resolution else None
            for each in forms
        )
        if base and row:
            return base / row
    return None

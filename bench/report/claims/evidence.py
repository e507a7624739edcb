"""What a device has on record in the paper's setting, and what came of looking a quantity up.

The setting is that of the tables (`bench.report.tables.layouts`); fp32 unless a place
says otherwise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.analysis import stats
from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.profile.summary import doubts
from bench.analysis.ratio import sitting_of
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.models import naming
from bench.records import Case, Measurement, Profile
from bench.report.devices import DeviceResults
from bench.report.tables.layouts import LATENCY_BATCH, run_as, setting_of

BACKEND, PRECISION = naming.USUAL.backend, naming.USUAL.precision


class Place(NamedTuple):
    """A network of the paper and how it is run; batch 1 for a latency, 128 for a throughput."""

    model: str
    form: str = "plain"
    batch: int = LATENCY_BATCH
    resolution: int = naming.USUAL.resolution
    precision: str = PRECISION

    @property
    def name(self) -> str:
        """As the paper prints it, with what sets it apart: `RepNeXt-u3-T-sRep 64²`."""
        case = Case(self.model, self.form, BACKEND, self.precision, resolution=self.resolution)
        return naming.title(case)


class Found(NamedTuple):
    """A quantity on one device; no `estimate` where it has no interval, `why` says why not.

    `doubted` is whether it rests on a SUSPECT row, `apart` whether the two that were compared did
    not take turns, `rounds` how many pairs of processes did. `exact` is what was counted.
    """

    estimate: Estimate | None = None
    point: float | None = None
    why: str = ""
    doubted: bool = False
    apart: bool = False
    rounds: int = 0
    exact: bool = False


def exactly(value: float) -> Found:
    """What is counted: its interval is a point."""
    return Found(Estimate(value, value, value), value, exact=True)


def missing(*reasons: str) -> Found:
    """Nothing was found, for these reasons; empty ones are none."""
    return Found(why="; ".join(dict.fromkeys(reason for reason in reasons if reason)))


def of_pairs(logs: Sequence[float], why: str, *, doubted: bool = False) -> Found:
    """The geometric mean of a ratio from its logarithm in each pair; `why` is for no interval."""
    ratio = stats.paired_ratio([[value] for value in logs])
    return Found(
        ratio,
        math.exp(statistics.fmean(logs)) if logs else None,
        "" if ratio else why,
        doubted,
        rounds=len(logs),
    )


class Timed(NamedTuple):
    """The rounds of a place, or why there are none that count."""

    rounds: list[Measurement]
    why: str = ""
    doubted: bool = False


class Profiled(NamedTuple):
    """The profiles of a place, or why there are none; `doubted` where they do not add up."""

    rounds: list[Profile]
    why: str = ""
    doubted: bool = False


class Evidence(NamedTuple):
    """Rows and profiles of one device in the paper's setting."""

    rows: dict[Place, Row]
    profiles: dict[Place, ProfileHistory]

    @classmethod
    def of(cls, device: DeviceResults) -> Evidence:
        """What `device` has on record."""
        setting = setting_of(device)
        known = [(each.rounds[0].case, each) for each in device.profiles if each.rounds]
        return cls(
            {_place(row.case): row for row in device.rows if run_as(row.case) == setting},
            {_place(case): each for case, each in known if run_as(case) == setting},
        )

    def timed(self, place: Place) -> Timed:
        """Its rounds, unless it failed or is INVALID."""
        row = self.rows.get(place)
        where = place.name + (f" at batch {place.batch}" if place.batch > 1 else "")
        if row is None:
            return Timed([], f"{where} is not on record")
        if row.failure:
            return Timed([], f"{where} failed ({row.failure.stage})")
        level = row.verdict.level if row.verdict else "VALID"
        if level == "INVALID":
            return Timed([], f"{where} is INVALID")
        return Timed(row.rounds, doubted=level == "SUSPECT")

    def profiled(self, place: Place) -> Profiled:
        """Its profiles."""
        known = self.profiles.get(place)
        if known is None:
            return Profiled([], f"no profile of {place.name}")
        return Profiled(known.rounds, doubted=bool(doubts(known.profile)))


def paired(
    before: Iterable[Measurement], after: Iterable[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    """The rounds of two cases that took turns."""
    later = {sitting_of(record): record for record in after}
    return [(one, later[sitting_of(one)]) for one in before if sitting_of(one) in later]


def _place(case: Case) -> Place:
    return Place(case.model, case.form, case.batch, case.resolution, case.precision)

"""The records of a device in the paper's setting, and the value of a quantity found in them.

The setting is the one of the tables (`bench.report.tables.layouts`), with fp32 unless a Place
names another precision.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.paired import paired_ratio
from bench.analysis.profile.recorded import ProfileHistory
from bench.analysis.profile.summary import doubts
from bench.analysis.rows import Row
from bench.analysis.stats import FEWEST_PROCESSES, Estimate
from bench.models import naming
from bench.records import Case, Measurement, Profile
from bench.records.workload import INFER
from bench.report.devices import DeviceResults
from bench.report.tables.layouts import LATENCY_BATCH, setting_of, setting_of_case

TOO_FEW = f"fewer than {FEWEST_PROCESSES} processes have no interval"
BACKEND, PRECISION = naming.USUAL.backend, naming.USUAL.precision


class Place(NamedTuple):
    """A network of the paper and how it runs; batch 1 for latency, 128 for throughput.

    With `workload` TRAIN, it is trained.
    """

    model: str
    form: str = "plain"
    batch: int = LATENCY_BATCH
    resolution: int = naming.USUAL.resolution
    precision: str = PRECISION
    workload: str = INFER

    @property
    def name(self) -> str:
        """The paper's name, with what differs from the usual setting: `RepNeXt-u3-T-sRep 64²`."""
        case = Case(
            self.model,
            self.form,
            BACKEND,
            self.precision,
            resolution=self.resolution,
            workload=self.workload,
        )
        return naming.title(case)


class Found(NamedTuple):
    """The value of a quantity on one device.

    `estimate` is None if there is no interval; `why` then gives the reason. `doubted`: a SUSPECT
    row is involved. `apart`: the two compared cases did not run in alternating rounds, so the
    machine's drift is in the interval. `rounds`: the number of pairs of processes from the same
    round. `exact`: the value was counted, not timed.
    """

    estimate: Estimate | None = None
    point: float | None = None
    why: str = ""
    doubted: bool = False
    apart: bool = False
    rounds: int = 0
    exact: bool = False


def exact_value(value: float) -> Found:
    """A counted value: the interval is [value, value]."""
    return Found(Estimate(value, value, value), value, exact=True)


def missing(*reasons: str) -> Found:
    """No value, for these reasons; empty reasons are dropped."""
    return Found(why="; ".join(dict.fromkeys(reason for reason in reasons if reason)))


def of_pairs(logs: Sequence[float], why: str, *, doubted: bool = False) -> Found:
    """The geometric mean ratio, exp(mean(logs)), with its 95 % interval over pairs.

    `logs` has the natural logarithm of the ratio of each pair. `why` is the reason to give if there
    are too few pairs for an interval.
    """
    ratio = paired_ratio([[value] for value in logs])
    return Found(
        ratio,
        math.exp(statistics.fmean(logs)) if logs else None,
        "" if ratio else why,
        doubted,
        rounds=len(logs),
    )


class Timed(NamedTuple):
    """The rounds of a Place, or the reason (`why`) for having none."""

    rounds: list[Measurement]
    why: str = ""
    doubted: bool = False


class Profiled(NamedTuple):
    """The profiles of a Place, or the reason (`why`) for having none.

    `doubted`: the terms of a profile do not add up to the latency.
    """

    rounds: list[Profile]
    why: str = ""
    doubted: bool = False


class Evidence(NamedTuple):
    """Rows and profiles of one device in the paper's setting."""

    rows: dict[Place, Row]
    profiles: dict[Place, ProfileHistory]

    @classmethod
    def of(cls, device: DeviceResults) -> Evidence:
        """The evidence in the records of `device`."""
        setting = setting_of(device)
        known = [(each.rounds[0].case, each) for each in device.profiles if each.rounds]
        return cls(
            {_place(row.case): row for row in device.usual if setting_of_case(row.case) == setting},
            {_place(case): each for case, each in known if setting_of_case(case) == setting},
        )

    def timed(self, place: Place) -> Timed:
        """The rounds of `place`; none if the case is not on record, failed or is INVALID."""
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
        """The profiles of `place`."""
        known = self.profiles.get(place)
        if known is None:
            return Profiled([], f"no profile of {place.name}")
        return Profiled(known.rounds, doubted=bool(doubts(known.profile)))


def _place(case: Case) -> Place:
    return Place(case.model, case.form, case.batch, case.resolution, case.precision, case.workload)

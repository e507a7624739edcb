"""The records of a run: frozen structs that are stored as JSON lines and read back.

SI units: seconds unless the name says otherwise, bytes, multiply-accumulates (MACs). Records hold
samples; statistics are derived from them. A field that was not measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

from bench.records.artifact import Agreement, Artifact, Gelus, Quantised
from bench.records.case import DEFAULT, Case, Source
from bench.records.conditions import Conditions, Counters, Gauges, Jump, Reading, Telemetry
from bench.records.environment import Chip, Environment
from bench.records.fields import (
    LAST,
    OUT_OF_MEMORY,
    SCHEMA,
    Category,
    Seconds,
    Setting,
    Stage,
    StopReason,
)
from bench.records.measurement import (
    Check,
    Cost,
    Failure,
    Measurement,
    Neighbour,
    Passport,
    Stages,
)
from bench.records.operator import Operator
from bench.records.profile import Peaks, Profile, ProfileRow, Utilisation, Waterfall
from bench.records.recipe import Recipe

__all__ = [
    "DEFAULT",
    "LAST",
    "OUT_OF_MEMORY",
    "SCHEMA",
    "Agreement",
    "Artifact",
    "Case",
    "Category",
    "Check",
    "Chip",
    "Conditions",
    "Cost",
    "Counters",
    "Environment",
    "Failure",
    "Gauges",
    "Gelus",
    "Jump",
    "Measurement",
    "Neighbour",
    "Operator",
    "Passport",
    "Peaks",
    "Profile",
    "ProfileRow",
    "Quantised",
    "Reading",
    "Recipe",
    "Record",
    "Seconds",
    "Setting",
    "Source",
    "Stage",
    "Stages",
    "StopReason",
    "Telemetry",
    "Utilisation",
    "Waterfall",
    "of_cases",
    "of_profiles",
]

Record = Measurement | Failure | Environment | Profile | Peaks


def of_cases(records: Iterable[Record]) -> Iterator[Measurement | Failure]:
    """The measurements among `records`, and the failures at any stage but profiling."""
    for record in records:
        if isinstance(record, Measurement) or _failed(record, profiling=False):
            yield record


def of_profiles(records: Iterable[Record]) -> Iterator[Profile | Failure]:
    """The profiles among `records`, and the failures at profiling."""
    for record in records:
        if isinstance(record, Profile) or _failed(record, profiling=True):
            yield record


def _failed(record: Record, *, profiling: bool) -> TypeGuard[Failure]:
    return isinstance(record, Failure) and (record.stage == "profile") == profiling

"""The records of a run: frozen structs that are stored as JSON lines and read back.

SI units: seconds unless the name says otherwise, bytes, multiply-accumulates (MACs). Records hold
samples; statistics are derived from them. A field that was not measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

from bench.records.artifact import Agreement, Artifact, Gelus, Quantised
from bench.records.case import DEFAULT, Case, Source
from bench.records.conditions import (
    Conditions,
    Counters,
    Gauges,
    Jump,
    Level,
    Reading,
    Telemetry,
)
from bench.records.environment import Chip, Environment
from bench.records.evaluation import Evaluation
from bench.records.fields import (
    LAST,
    OUT_OF_MEMORY,
    SCHEMA,
    Category,
    Duration,
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
    "APART",
    "DEFAULT",
    "LAST",
    "OUT_OF_MEMORY",
    "SCHEMA",
    "Agreement",
    "Artifact",
    "Case",
    "CaseRecord",
    "Category",
    "Check",
    "Chip",
    "Conditions",
    "Cost",
    "Counters",
    "Duration",
    "Environment",
    "Evaluation",
    "Failure",
    "Gauges",
    "Gelus",
    "Jump",
    "Level",
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
    "of_evaluations",
    "of_profiles",
]

CaseRecord = Measurement | Failure | Profile | Evaluation
Record = CaseRecord | Environment | Peaks

APART: tuple[Stage, ...] = ("profile", "evaluate")  # stages of passes that time nothing


def of_cases(records: Iterable[Record]) -> Iterator[Measurement | Failure]:
    """The measurements among `records`, and the failures to measure."""
    for record in records:
        if isinstance(record, Measurement) or (
            isinstance(record, Failure) and record.stage not in APART
        ):
            yield record


def of_profiles(records: Iterable[Record]) -> Iterator[Profile | Failure]:
    """The profiles among `records`, and the failures at profiling."""
    for record in records:
        if isinstance(record, Profile) or _failed_at(record, "profile"):
            yield record


def of_evaluations(records: Iterable[Record]) -> Iterator[Evaluation | Failure]:
    """The evaluations among `records`, and the failures to evaluate."""
    for record in records:
        if isinstance(record, Evaluation) or _failed_at(record, "evaluate"):
            yield record


def _failed_at(record: Record, stage: Stage) -> TypeGuard[Failure]:
    return isinstance(record, Failure) and record.stage == stage

"""What became of each line of the results of a device: used in its report, or left out, and why."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import evaluations
from bench.analysis.disturbance import undisturbed
from bench.analysis.profile.recorded import peaks_for, profile_history
from bench.analysis.settings import alike
from bench.records import (
    Environment,
    Failure,
    Measurement,
    Peaks,
    Profile,
    Record,
    of_cases,
    of_evaluations,
    of_profiles,
)
from bench.storage.history import history, of_generation


class LeftOut(enum.Enum):
    """Why a line is in no number of the report; the value is a description of such lines."""

    FLAWED = "not a record"
    REPEATED = "the same as another line"
    REPLACED = "replaced by `--again`"
    SAME_ROUND = "a second record of a round"
    PROFILED_AGAIN = "a profile that was made again"
    EVALUATED_AGAIN = "an evaluation that was made again"
    DISTURBED = "a round that another network disturbed"
    SPOILT = "a round that other programs spoilt"
    OTHER_SETTINGS = "a round with other settings"
    FAILED_LATER = "a round of a case that failed later"
    RETRIED = "a failure before a later attempt"
    NOT_MEASURED = "an environment without a measurement"
    NO_PROFILE = "peaks that no profile needs"


class Tally(NamedTuple):
    """The lines of all files of one device: `used`, and the number left out for each reason."""

    used: int
    left_out: Counter[LeftOut]

    @property
    def lines(self) -> int:
        """The number of lines of the files."""
        return self.used + self.left_out.total()

    @property
    def text(self) -> str:
        """The numbers as a sentence without its full stop."""
        lines = "1 line" if self.lines == 1 else f"{self.lines} lines"
        if not self.left_out.total():
            return f"{lines} of results, all used"
        reasons = ", ".join(
            f"{count} ({reason.value})" for reason in LeftOut if (count := self.left_out[reason])
        )
        return f"{lines} of results, {self.used} used; left out: {reasons}"


def tally(records: Sequence[Record], repeats: int = 0, flawed: int = 0) -> Tally:
    """Count the records of one device as its report uses them.

    `repeats` lines were left out when the files were pooled, `flawed` lines when they were read.
    """
    left_out = Counter({LeftOut.REPEATED: repeats, LeftOut.FLAWED: flawed})
    used = 0
    passes = (_of_cases, _of_profiles, _of_evaluations, _of_runs)
    for count in (of_pass(records) for of_pass in passes):
        used += count.used
        left_out += count.left_out
    return Tally(used, left_out)


def _of_cases(records: Sequence[Record]) -> Tally:
    grouped: dict[tuple[str, str], list[Measurement | Failure]] = {}
    for record in of_cases(records):
        grouped.setdefault((record.environment_id, record.case_id), []).append(record)
    used, left_out = 0, Counter[LeftOut]()
    for (environment_id, _), own in grouped.items():
        newest = of_generation(own)
        rounds, failure = history(own, own[0].case, environment_id)
        failures = sum(isinstance(record, Failure) for record in newest)
        left_out[LeftOut.REPLACED] += len(own) - len(newest)
        left_out[LeftOut.RETRIED] += failures - bool(failure)
        left_out[LeftOut.SAME_ROUND] += len(newest) - failures - len(rounds)
        if failure:
            left_out[LeftOut.FAILED_LATER] += len(rounds)
            used += 1
            continue
        calm, kept = undisturbed(rounds), alike(rounds)
        neighbours = sum(bool(each.disturbed_by) for each in rounds if each not in calm)
        left_out[LeftOut.DISTURBED] += neighbours
        left_out[LeftOut.SPOILT] += len(rounds) - len(calm) - neighbours
        left_out[LeftOut.OTHER_SETTINGS] += len(calm) - len(kept)
        used += len(kept)
    return Tally(used, left_out)


def _of_profiles(records: Sequence[Record]) -> Tally:
    grouped: dict[tuple[str, str], list[Profile | Failure]] = {}
    for record in of_profiles(records):
        grouped.setdefault((record.environment_id, record.case_id), []).append(record)
    used, left_out = 0, Counter[LeftOut]()
    for (environment_id, _), own in grouped.items():
        newest = of_generation(own)
        rounds, failure, _ = profile_history(own, own[0].case, environment_id)
        failures = sum(isinstance(record, Failure) for record in newest)
        left_out[LeftOut.REPLACED] += len(own) - len(newest)
        left_out[LeftOut.RETRIED] += failures - bool(failure)
        left_out[LeftOut.PROFILED_AGAIN] += len(newest) - failures - len(rounds)
        used += len(rounds) + bool(failure)
    return Tally(used, left_out)


def _of_evaluations(records: Sequence[Record]) -> Tally:
    every = list(of_evaluations(records))
    failures = sum(isinstance(record, Failure) for record in every)
    kept = evaluations.latest(records)
    left_out = Counter[LeftOut]()
    left_out[LeftOut.RETRIED] = failures - len(kept.failures)
    left_out[LeftOut.EVALUATED_AGAIN] = len(every) - failures - len(kept.made)
    return Tally(len(kept.made) + len(kept.failures), left_out)


def _of_runs(records: Sequence[Record]) -> Tally:
    """Environments describe the measurements of their runs; peaks belong to profiles."""
    every = [*of_cases(records), *of_profiles(records), *of_evaluations(records)]
    measured = {record.environment_id for record in every}
    cases = dict.fromkeys((each.environment_id, each.case) for each in of_profiles(records))
    needed = {id(peaks_for(records, case, environment_id)) for environment_id, case in cases}
    used, left_out = 0, Counter[LeftOut]()
    for record in records:
        if isinstance(record, Environment):
            is_used, reason = record.environment_id in measured, LeftOut.NOT_MEASURED
        elif isinstance(record, Peaks):
            is_used, reason = id(record) in needed, LeftOut.NO_PROFILE
        else:
            continue
        used += is_used
        left_out[reason] += not is_used
    return Tally(used, left_out)

"""What is on record of profiles: the rounds of each case, and the peaks that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.profile.summary import merged
from bench.records import Case, Environment, Failure, Peaks, Profile, Record, of_profiles


class ProfileHistory(NamedTuple):
    """What is on record of a case in one environment: its rounds, or why there are none.

    `failure` is the last one, unless a later round succeeded.
    """

    rounds: list[Profile]
    failure: Failure | None

    @property
    def profile(self) -> Profile:
        """All rounds as one."""
        return merged(self.rounds)


def profile_history(records: Sequence[Record], case: Case, environment_id: str) -> ProfileHistory:
    """The profiles of `case`; of a round that was profiled anew the last counts."""
    rounds: dict[int, Profile] = {}
    failure: Failure | None = None
    for record in of_profiles(records):
        if (record.environment_id, record.case_id) != (environment_id, case.case_id):
            continue
        if isinstance(record, Failure):
            failure = record
        else:
            rounds[record.round] = record
            failure = None
    return ProfileHistory(list(rounds.values()), failure)


def latest(records: Sequence[Record]) -> list[ProfileHistory]:
    """The history of each case in the environment profiled last, in order of first profile."""
    every = list(of_profiles(records))
    if not every:
        return []
    here = every[-1].environment_id
    cases = dict.fromkeys(each.case for each in every if each.environment_id == here)
    return [profile_history(records, case, here) for case in cases]


def chip_name(records: Sequence[Record], profile: Profile) -> str:
    """What `profile` was made on."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == profile.environment_id:
            return record.chip.name
    return f"unknown {profile.case.device}"


def peaks_of(records: Sequence[Record], profile: Profile) -> Peaks | None:
    """What the device of `profile` reaches at best in its precision and on its threads."""
    return peaks_for(records, profile.case, profile.environment_id)


def peaks_for(records: Sequence[Record], case: Case, environment_id: str) -> Peaks | None:
    """What a device reaches at best in the precision and on the threads of `case`."""
    wanted = (environment_id, case.precision, case.threads)
    for record in reversed(records):
        if isinstance(record, Peaks) and wanted == (
            record.environment_id,
            record.precision,
            record.threads,
        ):
            return record
    return None

"""The profiles on record: the rounds of each case, and the peaks of its device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis.profile.summary import mean_of_rounds
from bench.records import Case, Environment, Failure, Peaks, Profile, Record, of_profiles
from bench.storage.history import of_generation


class ProfileHistory(NamedTuple):
    """The profiled rounds of a case in one environment.

    `failure` is the last failure; None if a later round succeeded. `replaced` counts the profiles
    on record that a later one replaced.
    """

    rounds: list[Profile]
    failure: Failure | None
    replaced: int = 0

    @property
    def profile(self) -> Profile:
        """The mean of all rounds."""
        return mean_of_rounds(self.rounds)

    @property
    def note(self) -> str:
        """A sentence that says how many profiles were replaced; "" if none was."""
        count = "1 earlier profile" if self.replaced == 1 else f"{self.replaced} earlier profiles"
        return f"This profile replaced {count} of the same case." if self.replaced else ""


def profile_history(
    records: Sequence[Record], case: Case, environment_id: str, generation: int | None = None
) -> ProfileHistory:
    """The profiles of `case`, of the newest generation or of the given one.

    If a round was profiled twice, the last profile counts. Rounds of several runs are one profile:
    a run that was stopped is resumed by another one, which makes the missing rounds.
    """
    wanted = (environment_id, case.case_id)
    own = [each for each in of_profiles(records) if (each.environment_id, each.case_id) == wanted]
    rounds: dict[int, Profile] = {}
    failure: Failure | None = None
    for record in of_generation(own, generation):
        if isinstance(record, Failure):
            failure = record
        else:
            rounds[record.round] = record
            failure = None
    made = sum(isinstance(record, Profile) for record in own)
    return ProfileHistory(list(rounds.values()), failure, made - len(rounds) if rounds else 0)


def latest(records: Sequence[Record]) -> list[ProfileHistory]:
    """The history of each case in the environment profiled last, in order of first profile."""
    every = list(of_profiles(records))
    if not every:
        return []
    here = every[-1].environment_id
    cases = dict.fromkeys(each.case for each in every if each.environment_id == here)
    return [profile_history(records, case, here) for case in cases]


def chip_name(records: Sequence[Record], profile: Profile) -> str:
    """The name of the chip on which `profile` was made."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == profile.environment_id:
            return record.chip.name
    return f"unknown {profile.case.device}"


def peaks_of(records: Sequence[Record], profile: Profile) -> Peaks | None:
    """The peaks of the device of `profile`, for its precision and threads; None if not measured."""
    return peaks_for(records, profile.case, profile.environment_id)


def peaks_for(records: Sequence[Record], case: Case, environment_id: str) -> Peaks | None:
    """The peaks of a device for the precision and threads of `case`; None if not measured.

    Of several, those with the most MAC/s: other programs only lower a rate.
    """
    wanted = (environment_id, case.precision, case.threads)
    found = [
        record
        for record in records
        if isinstance(record, Peaks)
        and (record.environment_id, record.precision, record.threads) == wanted
    ]
    return max(found, key=lambda each: each.macs_per_s, default=None)

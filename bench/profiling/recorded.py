"""What is on record of profiles: the last of each case, and the peaks that go with them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Case, Environment, Failure, Peaks, Profile, Record


def latest_profiles(records: Sequence[Record]) -> list[Profile]:
    """The last profile of each case in the environment profiled last, as they first came."""
    every = [record for record in records if isinstance(record, Profile)]
    here = [each for each in every if each.environment_id == every[-1].environment_id]
    return list({each.case_id: each for each in here}.values())


def chip_name(records: Sequence[Record], profile: Profile) -> str:
    """What `profile` was made on."""
    for record in reversed(records):
        if isinstance(record, Environment) and record.environment_id == profile.environment_id:
            return record.chip.name
    return f"unknown {profile.case.device}"


def on_record(
    records: Sequence[Record], case: Case, environment_id: str
) -> Profile | Failure | None:
    """The last profile of `case` in this environment, or why there is none."""
    for record in reversed(records):
        if not isinstance(record, (Profile, Failure)) or record.environment_id != environment_id:
            continue
        is_profile = isinstance(record, Profile) or record.stage == "profile"
        if is_profile and record.case_id == case.case_id:
            return record
    return None


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

"""Whether the versions that decide a number have changed since a folder was last written to."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.scheduler.environment import IN_THE_ID
from bench.records import Environment


def change(earlier: Sequence[Environment], today: Environment) -> str | None:
    """A line that names each changed version, if no earlier run was made in today's environment.

    None if such a run is on record, if nothing is, or if the versions are those of the last run.
    """
    if not earlier or any(each.environment_id == today.environment_id for each in earlier):
        return None
    last = max(earlier, key=lambda each: each.started_at)
    changes = [
        f"{name} {last.versions.get(name) or 'none'} to {today.versions.get(name) or 'none'}"
        for name in reversed(IN_THE_ID)
        if last.versions.get(name) != today.versions.get(name)
    ]
    if not changes:
        return None
    return (
        f"The version changed: {', '.join(changes)}. Earlier rounds stay on record and are "
        "reported as before; every case is measured anew, next to them."
    )

"""Detects that bench, torch or timm has another version than in the last run of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.scheduler.environment import ID_PACKAGES
from bench.records import Environment


def version_change(earlier: Sequence[Environment], today: Environment) -> str | None:
    """Return a line that names each version that changed since the last of the earlier runs.

    `earlier` is in the order of the file. Returns None if there is no earlier run, if an earlier
    run has today's environment, or if no version changed.
    """
    if not earlier or any(each.environment_id == today.environment_id for each in earlier):
        return None
    last = earlier[-1]
    changes = [
        f"{name} {last.versions.get(name) or 'none'} to {today.versions.get(name) or 'none'}"
        for name in reversed(ID_PACKAGES)
        if last.versions.get(name) != today.versions.get(name)
    ]
    if not changes:
        return None
    return (
        f"The version changed: {', '.join(changes)}. Earlier rounds stay on record, and reports "
        "still show them. Every case is measured again and gets a row of its own."
    )

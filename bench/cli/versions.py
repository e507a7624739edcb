"""Detects what changed since the last run of a folder: a version, or a variable of the shell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.harness.scheduler.environment import ID_PACKAGES
from bench.records import Environment


def version_change(earlier: Sequence[Environment], today: Environment) -> str | None:
    """Return a line that names each version and variable that changed since the last earlier run.

    `earlier` is in the order of the file. Returns None if there is no earlier run, if an earlier
    run has today's environment, or if nothing of these changed.
    """
    if not earlier or any(each.environment_id == today.environment_id for each in earlier):
        return None
    last = earlier[-1]
    versions = _changes(last.versions, today.versions, reversed(ID_PACKAGES))
    variables = _changes(last.variables, today.variables, {**last.variables, **today.variables})
    if not versions and not variables:
        return None
    what = "The environment" if variables else "The version"
    return (
        f"{what} changed: {', '.join([*versions, *variables])}. Earlier rounds stay on record, and "
        "reports still show them. Every case is measured again and gets a row of its own."
    )


def _changes(
    before: Mapping[str, str | None], after: Mapping[str, str | None], names: Iterable[str]
) -> list[str]:
    """Each of `names` whose value changed: `torch 2.5 to 2.6`."""
    return [
        f"{name} {before.get(name) or 'none'} to {after.get(name) or 'none'}"
        for name in names
        if before.get(name) != after.get(name)
    ]

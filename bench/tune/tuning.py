"""What a tuning has tried and decided so far: one file, from which a stopped tuning continues."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from bench.errors import UsageError
from bench.records import Case
from bench.records.environment import slug_of
from bench.records.fields import SCHEMA, Amount, Integer, Name, Ordinal, Text
from bench.storage import files
from bench.storage.pages import write_pages
from bench.tune.space import Space

MOST_BYTES = 2**24
DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
AGAIN = "Add --again to start the tuning anew."


class Dropped(msgspec.Struct, frozen=True):
    """A candidate that is out of the race, and why."""

    case: Case
    why: Text


class Tuning(msgspec.Struct, frozen=True):
    """The state of a tuning.

    `alive` are the candidates in the race. `waves` and `rungs` count those that are complete.
    `baselines` and `finalists` are measured again in new processes; both are empty until the search
    ends. `search_runs` and `final_runs` are the run ids of both parts. `spent_s` are the seconds so
    far. `runtimes` has the versions of each backend, by package.
    """

    space: Space
    environment_id: Name
    runtimes: dict[Name, dict[Name, Text]] = {}
    alive: tuple[Case, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    waves: Ordinal = 0
    rungs: Ordinal = 0
    baselines: tuple[Case, ...] = ()
    finalists: tuple[Case, ...] = ()
    search_runs: tuple[Name, ...] = ()
    final_runs: tuple[Name, ...] = ()
    spent_s: Amount = 0.0
    schema: Integer = SCHEMA

    @property
    def known(self) -> frozenset[Case]:
        """All candidates that were tried, or given up."""
        return frozenset((*self.alive, *(each.case for each in self.dropped)))

    @property
    def name(self) -> str:
        """The name of its files without the ending: of the network, the batch and the space."""
        case = self.space.forms[0]
        digest = hashlib.sha256(msgspec.json.encode(self.space, order="sorted")).hexdigest()[:8]
        return f"tune-{slug_of(case.model)}-batch-{case.batch}-{digest}"

    def drop(self, why: dict[Case, str]) -> Tuning:
        """Return the tuning without these candidates, each with its reason."""
        out = tuple(Dropped(case, reason) for case, reason in why.items())
        alive = tuple(case for case in self.alive if case not in why)
        return msgspec.structs.replace(self, alive=alive, dropped=(*self.dropped, *out))


def resumed(fresh: Tuning, folder: Path, runs: Collection[str]) -> Tuning:
    """Return the tuning of the same space in `folder`, or `fresh` if there is none that counts.

    It counts if environment and runtimes are the same, and if the store has its `runs`. Raises
    UsageError if its file cannot be read.
    """
    path = folder / f"{fresh.name}.json"
    if not path.exists():
        return fresh
    try:
        found = _read(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", AGAIN) from error
    except DAMAGED as error:
        raise UsageError(f"{path} is damaged, or of another version: {error}", AGAIN) from error
    of_here = (fresh.space, fresh.environment_id, fresh.runtimes, fresh.schema)
    is_same = (found.space, found.environment_id, found.runtimes, found.schema) == of_here
    measured = {run for run in (*found.search_runs, *found.final_runs) if run in runs}
    return found if is_same and (measured or not found.waves) else fresh


def all_like(tuning: Tuning, folder: Path) -> list[Tuning]:
    """Return the tunings in `folder` of the same environment and versions of runtimes.

    What cannot be read is left out.
    """
    found = []
    for path in sorted(folder.glob("tune-*.json")):
        with contextlib.suppress(OSError, *DAMAGED):
            found.append(_read(path))
    here = (tuning.environment_id, tuning.schema)
    return [
        each
        for each in found
        if (each.environment_id, each.schema) == here
        and all(each.runtimes.get(name, now) == now for name, now in tuning.runtimes.items())
    ]


def _read(path: Path) -> Tuning:
    """Raises OSError, or one of DAMAGED."""
    return msgspec.json.decode(files.read(path, MOST_BYTES), type=Tuning)


def save(tuning: Tuning, folder: Path) -> None:
    """Write the tuning into `folder`. Raises UsageError where that is not possible."""
    content = msgspec.json.format(msgspec.json.encode(tuning), indent=1)
    write_pages(folder, {f"{tuning.name}.json": content})

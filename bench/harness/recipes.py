"""Recipes of `bench tune`, which `--models MODEL@tuned:RECIPE` names."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.backends import BACKENDS, packages
from bench.devices import DEVICES
from bench.errors import UsageError
from bench.harness import grid
from bench.harness.scheduler.environment import runtime_of
from bench.records import SCHEMA, Case, Chip, Recipe
from bench.storage import files

MOST_BYTES = 2**20
TUNE = "Make one here: bench tune MODEL"


def read(path: Path) -> Recipe:
    """Read a recipe. Raises UsageError if it cannot be read, or is of another version."""
    try:
        found = msgspec.json.decode(files.read(path, MOST_BYTES), type=Recipe)
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}", TUNE) from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is not a recipe of `bench tune`: {error}", TUNE) from error
    if found.schema != SCHEMA:
        raise UsageError(
            f"the recipe {path} has schema {found.schema}; this version of bench reads {SCHEMA}",
            TUNE,
        )
    _check_versions(found)
    return found


def _check_versions(recipe: Recipe) -> None:
    """Raise UsageError for a recipe of another version of torch, or of the runtime."""
    if recipe.case.device not in DEVICES or recipe.case.backend not in BACKENDS:
        return  # `check_here` refuses it
    here = {"torch": packages.version("torch"), **runtime_of(recipe.case)}
    made_with = {**recipe.versions, **recipe.runtime}
    for name, version in here.items():
        if (known := made_with.get(name)) and version and known != version:
            raise UsageError(
                f"the recipe was made with {name} {known}, and here is {version}", TUNE
            )


def check_model(case: Case, model: str) -> None:
    """Raise UsageError unless the case of a recipe is of this model, its code and weights."""
    if case.model != model:
        raise UsageError(
            f"the recipe is of {case.model}, not of {model}",
            f"Tune that network: bench tune {model}",
        )


def check_here(case: Case, chip: Chip) -> None:
    """Raise UsageError or UnavailableError where the case of a recipe cannot run on `chip`."""
    if case.device != chip.device:
        raise UsageError(
            f"the recipe is for {case.device}, and this run is on {chip.device}",
            f"Add --device {case.device}, or tune here: bench tune {case.name}",
        )
    if chip.threads and case.threads > chip.threads:
        raise UsageError(
            f"the recipe wants {case.threads} threads, and this process may use {chip.threads}",
            f"Tune here: bench tune {case.model}",
        )
    settings = {key: (getattr(case, key),) for key in grid.CHECKS}
    grid.check({"batch": (case.batch,), "resolution": (case.resolution,), **settings}, 1, chip)

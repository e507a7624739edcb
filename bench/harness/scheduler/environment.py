"""The environment of a run: the chip, the package versions, and an id made from both."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType

import msgspec

import bench
from bench.backends import BACKENDS
from bench.devices import DEVICES, Driver
from bench.devices.variables import deciding_variables
from bench.records import Case, Chip, Environment
from bench.storage.history import History, is_outdated

PACKAGES = ("torch", "torchvision", "timm", "numpy")
ID_PACKAGES = ("torch", "timm", "bench")


def describe(driver: Driver, chip: Chip, run_id: str, command: str) -> Environment:
    """Return the environment of a run that starts now, without importing any of PACKAGES."""
    versions = {name: _version(name) for name in PACKAGES}
    versions |= {"bench": bench.__version__, "python": platform.python_version()}
    versions |= {"kernel": platform.release()}
    variables = deciding_variables() if driver.runs_torch else {}
    return Environment(
        run_id=run_id,
        environment_id=environment_id(driver, chip, versions, variables),
        chip=chip,
        versions=versions,
        state=driver.state(),
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
        variables=variables,
    )


def environment_id(
    driver: Driver,
    chip: Chip,
    versions: Mapping[str, str | None],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return 16 hex digits of the SHA-256 of the chip and the versions of ID_PACKAGES.

    Variables of the shell that decide how torch computes are part of it only where they are set.
    The machine's state (clocks, governor, ...) is not part of the id. For a device that does not
    run torch, only the version of bench is.
    """
    names = ID_PACKAGES if driver.runs_torch else ("bench",)
    known = {name: versions.get(name) for name in names}
    identity = (
        chip.device,
        chip.name,
        chip.facts,
        known,
        *([dict(variables)] if variables else []),
    )
    return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:16]


def runtime_of(case: Case) -> dict[str, str]:
    """Return the versions of the runtime that executes the case; {} where torch executes it.

    They decide, together with the environment, whether a round on record still counts.
    """
    runs_torch = DEVICES[case.device].runs_torch
    return dict(BACKENDS[case.backend].versions(case.precision)) if runs_torch else {}


def is_outdated_for(case: Case, known: History) -> bool:
    """Whether a runtime of other versions than those here made the records of a case."""
    return is_outdated([*known.rounds, *filter(None, [known.failure])], runtime_of(case))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

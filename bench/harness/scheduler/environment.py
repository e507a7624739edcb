"""Where a run is made: the chip, the versions of what measures, and an id of both."""

from __future__ import annotations

import datetime
import hashlib
import platform
from importlib import metadata

import msgspec

import bench
from bench.devices import Driver
from bench.records import Chip, Environment

PACKAGES = ("torch", "torchvision", "timm", "numpy")
IN_THE_ID = ("torch", "timm", "bench")


def describe(driver: Driver, chip: Chip, run_id: str, command: str) -> Environment:
    """The environment of a run that starts now; imports none of the packages it names."""
    versions = {name: _version(name) for name in PACKAGES}
    versions |= {"bench": bench.__version__, "python": platform.python_version()}
    versions |= {"kernel": platform.release()}
    return Environment(
        run_id=run_id,
        environment_id=environment_id(driver, chip, versions),
        chip=chip,
        versions=versions,
        state=driver.state(),
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
    )


def environment_id(driver: Driver, chip: Chip, versions: dict[str, str | None]) -> str:
    """A hash of the chip and of the versions of torch, timm and bench; of no changing state."""
    names = IN_THE_ID if driver.runs_torch else ("bench",)
    identity = (chip.device, chip.name, chip.facts, {name: versions.get(name) for name in names})
    return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

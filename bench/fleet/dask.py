"""What all parts of a fleet need of Dask: one version, encryption, and quiet."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.errors import UnavailableError, UsageError
from bench.fleet.certificates import checked, install_first

VERSION = "2026.8.0"  # pyproject.toml has the same: other versions do not understand each other
PORT = 8786
SCHEME = "tls://"
SETTINGS = {
    # A task whose worker was lost goes to another one, however often that happens.
    "distributed.scheduler.allowed-failures": 10**6,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.retry.count": 0,
    # Networks are measured in other processes, whose memory is not the worker's.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Measured processes get the CPUs, so this one does nothing that is not needed.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
}


def prepare() -> None:
    """Set Dask up in this process. Raises UnavailableError where it is missing or another one."""
    try:
        found = metadata.version("distributed")
    except metadata.PackageNotFoundError:
        raise install_first() from None
    if found != VERSION:
        raise UnavailableError(
            f"the fleet needs distributed {VERSION}, and {found} is installed",
            f"Install it on each machine: pip install distributed=={VERSION}",
        )
    import dask

    dask.config.set(SETTINGS)
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def security(folder: Path, role: str) -> Any:
    """Return Dask's settings of a role that accepts no connection without a certificate.

    Raises UsageError as `certificates.checked` does.
    """
    import distributed

    files = checked(folder, role)
    make: Any = distributed.Security
    return make(
        require_encryption=True,
        tls_ca_file=str(files.authority),
        **{f"tls_{role}_cert": str(files.certificate), f"tls_{role}_key": str(files.key)},
    )


def check_address(address: str) -> str:
    """Return an address that is encrypted. Raises UsageError for any other."""
    if not address.startswith(SCHEME):
        raise UsageError(
            f"{address} is not an encrypted address",
            f"Start `bench fleet scheduler --certs DIR`, and use {SCHEME}HOST:{PORT}.",
        )
    return address


def resource(device: str) -> str:
    """Return the name of Dask's resource that a worker with this device has one of."""
    return f"device:{device}"

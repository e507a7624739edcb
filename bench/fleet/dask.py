"""What all parts of a fleet need of Dask: one version, encryption, and quiet."""

from __future__ import annotations

import asyncio
import logging
import signal
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import UnavailableError, UsageError
from bench.fleet.certificates import checked
from bench.fleet.extra import PORT, VERSION, install_first

SCHEME = "tls://"
PREFIX = "bench:"
CONNECT_S = 30.0
NO_PAGES = "127.0.0.1:0"  # Dask always serves HTTP, which has no certificates: here, no pages
SETTINGS = {
    # The client gives a lost task again, with the records that it has by then.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
    "distributed.comm.retry.count": 0,
    "distributed.diagnostics.nvml": False,
    # Each record is an event, which the scheduler would keep.
    "distributed.admin.low-level-log-length": 1,
    # Measured processes get the CPUs, so this one does nothing that is not needed.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.active-memory-manager.start": False,
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
    logging.disable()  # of each lost connection, both ends would print a traceback


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
    remedy = f"Start `bench fleet scheduler --certs DIR`, and use {SCHEME}HOST:{PORT}."
    if not address.startswith(SCHEME):
        raise UsageError(f"{address} is not an encrypted address", remedy)
    try:
        place = urlsplit(address)
        is_whole = bool(place.hostname and place.port)
        (place.hostname or "").encode("idna")
    except ValueError:  # a UnicodeError is one
        is_whole = False
    if not is_whole:
        raise UsageError(f"{address} is no address of a scheduler", remedy)
    return address


def resource(device: str, environment_id: str) -> str:
    """Return the name of Dask's resource that a worker has one of.

    Workers with one name make rounds that are pooled, so one continues where another was lost.
    """
    return f"{PREFIX}{device}:{environment_id}"


def kind_of(name: str) -> tuple[str, str] | None:
    """Return the device and the environment of a resource; None for one of somebody else."""
    device, colon, environment_id = name.removeprefix(PREFIX).partition(":")
    return (device, environment_id) if colon and name.startswith(PREFIX) else None


def until_signal() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set, in the loop that runs."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped

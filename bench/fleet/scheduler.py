"""The scheduler of a fleet: it gives tasks to workers and measures nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.fleet import dask


def serve(folder: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it; call `ready` with the address.

    Raises UsageError for a missing or expired certificate, and for a port that is taken.
    """
    dask.prepare()
    asyncio.run(_serve(dask.security(folder, "scheduler"), host, port, ready))


async def _serve(security: Any, host: str, port: int, ready: Callable[[str], None]) -> None:
    from distributed import Scheduler

    make: Any = Scheduler
    try:
        scheduler = make(
            host=host,
            port=port,
            protocol="tls://",
            security=security,
            dashboard=False,
            dashboard_address=dask.NO_PAGES,
        )
        await scheduler
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            "Choose another --port or --host.",
        ) from error
    stopped = dask.until_signal()
    try:
        ready(scheduler.address)
        await stopped.wait()
    finally:
        await scheduler.close()

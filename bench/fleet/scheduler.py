"""The scheduler of a fleet: it gives tasks to workers and measures nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.fleet import dask


def serve(folder: Path, host: str | None, port: int, ready: Callable[[str], None]) -> None:
    """Serve until the process is ended; call `ready` with the address.

    Raises UsageError for a missing or expired certificate, and for a port that is taken.
    """
    dask.prepare()
    security = dask.security(folder, "scheduler")
    asyncio.run(_serve(security, host, port, ready))


async def _serve(security: Any, host: str | None, port: int, ready: Callable[[str], None]) -> None:
    from distributed import Scheduler

    made: Any = Scheduler(host=host, port=port, protocol="tls", security=security, dashboard=False)
    try:
        async with made:
            ready(made.address)
            await made.finished()
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port}: {error.strerror or error}", "Choose another --port."
        ) from error

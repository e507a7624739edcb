"""A worker of a fleet: it measures on the devices of its machine, one group of cases at a time.

It outlives its scheduler: when the connection is lost, it waits for the next one. What it measured
stays in a store of its own, from which a client gets what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import devices
from bench.fleet import dask, task
from bench.fleet.task import Place

AGAIN_S = 2.0  # between two attempts to reach a scheduler
GRACE_S = 5.0
Tell = Callable[[str], None]


def serve(
    address: str,
    folder: Path,
    names: Sequence[str],
    store: Path,
    allowed: Sequence[str],
    tell: Tell,
) -> None:
    """Measure for the scheduler at `address` until the process is ended.

    Raises UnavailableError for a device that is not here, and UsageError for a certificate.
    """
    dask.check_address(address)
    dask.prepare()
    chips = {name: devices.select(name)[1].name for name in names}
    security = dask.security(folder, "worker")
    tell("measures on " + ", ".join(f"{name} ({chip})" for name, chip in chips.items()))
    lost = False
    while True:
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError, RuntimeError):
            asyncio.run(_serve(address, security, names, store, allowed, tell))
            lost = False
        if not lost:
            tell(f"no scheduler at {address}: waiting for one")
            lost = True
        time.sleep(AGAIN_S)


async def _serve(
    address: str,
    security: Any,
    names: Sequence[str],
    store: Path,
    allowed: Sequence[str],
    tell: Tell,
) -> None:
    from distributed import Worker

    made: Any = Worker(
        address,
        security=security,
        nthreads=1,  # one group at a time: two would disturb each other
        resources={dask.resource(name): 1 for name in names},
        memory_limit=0,
        dashboard=False,
        death_timeout=f"{GRACE_S}s",
        local_directory=str(store / "scratch"),
        heartbeat_interval="2s",
    )
    task.serve_at(Place(tuple(names), store, frozenset(allowed), made.log_event))
    async with made:
        tell(f"connected to {address}")
        await made.finished()

"""A worker of a fleet: it measures on the devices of its machine, one group of cases at a time.

It outlives its scheduler: when the connection is lost, it waits for the next one. What it measured
stays in a store of its own, from which a client gets what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import devices
from bench.fleet import dask
from bench.fleet.reach import NotThereError, reach
from bench.fleet.task import Measurer
from bench.fleet.validation import Station
from bench.harness.scheduler.environment import describe
from bench.storage import lock

AGAIN_S = 1.0  # between two attempts to reach a scheduler
Say = Callable[[str], None]


def serve(address: str, folder: Path, station: Station, say: Say) -> None:
    """Measure for the scheduler at `address` until a signal ends it.

    Raises UnavailableError for a device that is not here, and for a scheduler that refuses this
    worker; UsageError for a certificate that is missing or has expired.
    """
    dask.check_address(address)
    dask.prepare()
    for name in station.devices:
        say(f"measures on {name}: {devices.select(name)[1].name}")
    with lock.scratch() as scratch, Measurer(station) as measurer:
        asyncio.run(_serve(address, folder, station, measurer, scratch, say))


async def _serve(
    address: str, folder: Path, station: Station, measurer: Measurer, scratch: Path, say: Say
) -> None:
    """Work for one scheduler after another."""
    stopped = dask.until_signal()
    is_missed = False
    while not stopped.is_set():
        security = dask.security(folder, "worker")  # again: it may have expired
        try:
            await reach(address, security, "worker")
            worker = _made(address, security, station, scratch)
            worker.measurer = measurer
            await _work(worker, stopped, lambda: say(f"connected to {address}"))
            is_missed = False
        except (NotThereError, OSError):
            if not is_missed:
                say(f"no scheduler at {address}: waiting for one")
            is_missed = True
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stopped.wait(), AGAIN_S)


def _made(address: str, security: Any, station: Station, scratch: Path) -> Any:
    """Return Dask's worker, which does one task at a time: two would disturb each other."""
    from distributed import Worker

    make: Any = Worker
    return make(
        address,
        security=security,
        nthreads=1,
        resources=dict.fromkeys(_resources(station), 1),
        memory_limit=0,
        dashboard=False,
        dashboard_address=dask.NO_PAGES,
        local_directory=str(scratch),
    )


async def _work(worker: Any, stopped: asyncio.Event, connected: Callable[[], None]) -> None:
    """Work until the scheduler is gone, or the worker is stopped."""
    try:
        await asyncio.wait_for(worker, dask.CONNECT_S)
        connected()
        waiting = [asyncio.ensure_future(each) for each in (worker.finished(), stopped.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
    finally:
        await worker.close(nanny=False)


def _resources(station: Station) -> list[str]:
    """Return a resource for each device in the environment that it has now."""
    found = []
    for name in station.devices:
        driver, chip = devices.select(name)
        here = describe(driver, chip, "", "").environment_id
        found.append(dask.resource(driver.name, here))
    return found

"""A second process that computes on the device, as a fault that a verdict must name."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from bench.devices import Driver
from bench.diagnostics.selfcheck.faults import Hog
from bench.errors import UnavailableError, starting
from bench.process import command_for_code

PRODUCTS = """
import os, sys, torch
parent = os.getppid()
x = torch.ones(4096, 4096, device=sys.argv[1])
torch.cuda.synchronize()
print("ready", flush=True)
while os.getppid() == parent:
    x @ x
    torch.cuda.synchronize()
"""


@contextlib.contextmanager
def disturbed(driver: Driver) -> Iterator[None]:
    """Keep the device busy by another process, or by one for each CPU on a device without a queue.

    Raises UnavailableError if the process cannot compute on the device, and UsageError if the
    system allows no more processes.
    """
    if not driver.has_queue:
        with Hog():
            yield
        return
    command = command_for_code(PRODUCTS, driver.torch_device)
    with starting("a second process on the device"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise UnavailableError("a second process cannot compute on the device")
        yield
    finally:
        process.kill()
        process.communicate()

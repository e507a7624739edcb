"""Devices by the name that `--device` takes: one driver each, in one table."""

from __future__ import annotations

import re

from bench.devices.cpu import Cpu
from bench.devices.cuda import Cuda
from bench.devices.driver import Driver, Session
from bench.devices.fake import Fake
from bench.devices.orin import Orin
from bench.errors import UnavailableError, unknown
from bench.records import Chip

__all__ = ["ALIASES", "DEVICES", "Driver", "Session", "driver_of", "select", "torch_device_here"]

DEVICES: dict[str, Driver] = {driver.name: driver for driver in (Cpu(), Cuda(), Orin(), Fake())}
ALIASES = {"a100": "cuda", "h100": "cuda", "h200": "cuda"}


def select(name: str) -> tuple[Driver, Chip]:
    """The driver that `name` or an alias stands for, and the chip that it found here.

    Raises UsageError for an unknown name, UnavailableError where there is no such chip: an alias
    asks for the chip of that name.
    """
    if name not in DEVICES and name not in ALIASES:
        raise unknown("device", name, [*DEVICES, *ALIASES], "`bench list devices` lists them.")
    driver = DEVICES[ALIASES.get(name, name)]
    chip = driver.identify()
    if name in ALIASES and not re.search(rf"\b{name}\b", chip.name.lower()):
        raise UnavailableError(
            f"no {name.upper()} here: the chip is {chip.name}",
            f"For this chip: --device {driver.name}",
        )
    return driver, chip


def driver_of(name: str) -> Driver | None:
    """The driver of the device that a record names; None for a device that is not known here."""
    return DEVICES.get(name)


def torch_device_here() -> str:
    """What torch calls the best device of this machine: an accelerator that answers, else the CPU.

    A backend is asked about this one where no device was named.
    """
    cpu = DEVICES["cpu"].torch_device
    for driver in DEVICES.values():
        if driver.runs_torch and driver.torch_device != cpu:
            try:
                driver.identify()
            except UnavailableError:
                continue
            return driver.torch_device
    return cpu

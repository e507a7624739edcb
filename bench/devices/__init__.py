"""The table of devices, by the name for `--device`. Each device has one driver."""

from __future__ import annotations

import re

from bench.devices.cpu import Cpu
from bench.devices.cuda import Cuda
from bench.devices.driver import Driver, Session
from bench.devices.fake import Fake
from bench.devices.orin import Orin
from bench.errors import UnavailableError, unknown
from bench.records import Chip

__all__ = [
    "ALIASES",
    "DEVICES",
    "Driver",
    "OtherChipError",
    "Session",
    "driver_name",
    "driver_of",
    "has_queue",
    "select",
    "torch_device_here",
]

DEVICES: dict[str, Driver] = {driver.name: driver for driver in (Cpu(), Cuda(), Orin(), Fake())}
ALIASES = {"a100": "cuda", "h100": "cuda", "h200": "cuda"}
_NVIDIA = "An NVIDIA GPU is --device cuda."
_JETSON = "A Jetson Orin is --device orin."
_NO_DRIVER = "There is no driver for it: bench measures CPUs, NVIDIA GPUs and Jetson Orin."
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["gpu", "nvidia", "cuda:0", "rtx"], _NVIDIA),
    **dict.fromkeys(["jetson", "edge", "agx", "nano", "xavier", "tegra"], _JETSON),
    **dict.fromkeys(["mps", "rocm", "xpu", "npu", "tpu", "hpu", "amd", "apple"], _NO_DRIVER),
    **dict.fromkeys(["x86", "arm", "intel", "host"], "A CPU of any kind is --device cpu."),
}


class OtherChipError(UnavailableError):
    """An alias names another chip than that of this machine."""


def select(name: str) -> tuple[Driver, Chip]:
    """Return the driver for a device name or an alias, and the chip of this machine.

    Raises UsageError if `name` is unknown, and UnavailableError if this machine has no such chip.
    An alias, such as `h100`, requires a chip with the alias in its name, else OtherChipError.
    """
    driver = DEVICES[driver_name(name)]
    chip = driver.identify()
    if name in ALIASES and not re.search(rf"\b{name}\b", chip.name.lower()):
        raise OtherChipError(
            f"no {name.upper()} here: the chip is {chip.name}",
            f"Use --device {driver.name} for this chip.",
        )
    return driver, chip


def driver_name(name: str) -> str:
    """Return the name of the driver for a device or an alias. Raises UsageError if unknown."""
    if name not in DEVICES and name not in ALIASES:
        listed = "`bench list devices` lists them."
        raise unknown("device", name, [*DEVICES, *ALIASES], listed, known_as=KNOWN_AS)
    return ALIASES.get(name, name)


def driver_of(name: str) -> Driver | None:
    """Return the driver for the device name in a record; None if no device has the name."""
    return DEVICES.get(name)


def has_queue(name: str) -> bool:
    """Whether the device that a record names queues calls, as a GPU does; True if it is unknown."""
    driver = driver_of(name)
    return driver is None or driver.has_queue


def torch_device_here() -> str:
    """Return torch's name of the first accelerator that is available here, otherwise of the CPU.

    Commands check the backends for this device if the user names none.
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

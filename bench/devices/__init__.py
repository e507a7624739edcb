"""Devices by the name that `--device` takes. A driver is a class of one shape in one dict."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from bench.devices.cpu import Cpu
from bench.devices.cuda import Cuda
from bench.devices.fake import Fake
from bench.devices.kernels import Kernels
from bench.devices.orin import Orin
from bench.devices.sensor import Memory, Sensor
from bench.errors import UnavailableError, unknown
from bench.records import Case, Chip, Reading, Setting

__all__ = ["ALIASES", "DEVICES", "Device", "select", "torch_device_here"]


class Device(Protocol):
    """A driver for a chip.

    The parent calls `identify`, `state`, `free_bytes` and `foreign_processes`, the child the
    rest. `has_queue` is whether a call returns before its work is done.
    """

    name: str
    torch_device: str
    has_queue: bool

    def identify(self) -> Chip:
        """What the chip is, without touching it. Raises UnavailableError where there is none."""

    def state(self) -> dict[str, str | int | float | None]:
        """What may change from minute to minute; None where it cannot be read."""

    def preload(self) -> None:
        """Import what measuring needs; starts no thread and touches no chip: forks follow."""

    def session(self, case: Case) -> AbstractContextManager[object]:
        """Inside it, the case's threads and precision hold in this process."""

    def now(self) -> float:
        """Wait for queued work, then read a monotonic clock: seconds."""

    def kernels(self) -> Kernels:
        """The calibration kernels, ready to be called; their memory is in no peak."""

    def sense(self) -> Reading:
        """What the machine is doing; called before and after a timed block, never inside one."""

    def device_times(self, call: Callable[[], object], iterations: int) -> list[float]:
        """Seconds of each call by the chip's own clock, calls queued in a row; of a queue only."""

    def sensor(self) -> Sensor | None:
        """What reads the chip while it works, for the steady loop; None where nothing does."""

    def settings(self) -> dict[str, Setting]:
        """Switches that change speed, as they stand in this process."""

    def free_bytes(self) -> int | None:
        """Memory that networks may still take here, or None where that is not known."""

    def foreign_processes(self) -> int | None:
        """Others that compute on the chip, while no child of ours lives; None if not known."""

    def reset_peak_memory(self) -> None:
        """Forget the peak so far."""

    def memory(self) -> Memory:
        """What is and was held since the reset."""


DEVICES: dict[str, Device] = {device.name: device for device in (Cpu(), Cuda(), Orin(), Fake())}
ALIASES = {"a100": "cuda", "h100": "cuda", "h200": "cuda"}


def select(name: str) -> tuple[Device, Chip]:
    """The driver that `name` or an alias stands for, and the chip that it found here.

    Raises UsageError for no name, UnavailableError where there is no such chip: an alias wants
    the chip that bears it.
    """
    if name not in DEVICES and name not in ALIASES:
        raise unknown("device", name, [*DEVICES, *ALIASES], "`bench list devices` tells more.")
    device = DEVICES[ALIASES.get(name, name)]
    chip = device.identify()
    if name in ALIASES and not re.search(rf"\b{name}\b", chip.name.lower()):
        raise UnavailableError(
            f"no {name.upper()} here: the chip is {chip.name}",
            f"For this chip: --device {device.name}",
        )
    return device, chip


def torch_device_here() -> str:
    """`cuda` where a GPU answers, else `cpu`: what a backend is asked about when no device is."""
    for name in ("orin", "cuda"):
        try:
            DEVICES[name].identify()
        except UnavailableError:
            continue
        return DEVICES[name].torch_device
    return DEVICES["cpu"].torch_device

"""The protocol of a GPU sensor, and the substitute for a sensor that cannot be opened."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bench.records import Gauges

# The fields of Gauges that a sensor reads: all fields except `missing`.
LEVELS = tuple(name for name in Gauges.__struct_fields__ if name != "missing")


class Memory(NamedTuple):
    """Bytes of memory that a child process holds; None if a size is unknown or does not exist.

    `peak`: maximum for the network. `reserved`: maximum that torch's allocator took from the GPU.
    `process`: current GPU memory of the process, by the driver.
    """

    peak: int | None = None
    reserved: int | None = None
    process: int | None = None

    @property
    def largest(self) -> int | None:
        """The largest of the known sizes, in bytes: an estimate of what a similar child holds."""
        return max((size for size in self if size is not None), default=None)


class Sensor(Protocol):
    """Reads a GPU. No method raises; a value that cannot be read is None, with a reason."""

    def gauges(self) -> Gauges:
        """Return the current levels in SI units; `missing` has a reason for each None.

        A call takes milliseconds; never call it inside a timed block.
        """

    def energy_j(self) -> float | None:
        """Return the joules since a fixed time, from a counter of the chip; None without one."""

    def close(self) -> None:
        """Release what the sensor opened. A second call does nothing."""


class MissingSensor:
    """The substitute for a sensor that cannot be opened: every value is None, with the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def gauges(self) -> Gauges:
        """Return None for every level, with the reason."""
        return Gauges(missing=dict.fromkeys(LEVELS, self._reason))

    def energy_j(self) -> float | None:
        """Return None: there is no counter."""
        return None

    def close(self) -> None:
        """Do nothing: nothing was opened."""

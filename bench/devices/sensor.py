"""What can be sensed of a GPU, whatever does it: the one shape of NVML, sysfs and jtop."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bench.records import Gauges


class Memory(NamedTuple):
    """Bytes that a child holds; None where that is not known or there is no such thing.

    `peak` is the most that the network held, `reserved` the most that torch's allocator took for
    it from the GPU, `process` what the driver says the process holds there now.
    """

    peak: int | None = None
    reserved: int | None = None
    process: int | None = None

    @property
    def largest(self) -> int | None:
        """How much another child like this one may take."""
        return max((size for size in self if size is not None), default=None)


class Sensor(Protocol):
    """Reads a GPU. None of its methods raises: what cannot be read is None, with a reason."""

    def gauges(self) -> Gauges:
        """Its levels now; takes milliseconds, so it is never called inside a timed block."""

    def energy_j(self) -> float | None:
        """Joules since some past moment, from a counter of the chip; None where it has none."""

    def close(self) -> None:
        """Let go of whatever was opened."""


class Blind:
    """Stands where no sensor could be opened, and says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def gauges(self) -> Gauges:
        """Nothing."""
        names = (name for name in Gauges.__struct_fields__ if name != "missing")
        return Gauges(missing=dict.fromkeys(names, self._why))

    def energy_j(self) -> float | None:
        """Nothing."""
        return None

    def close(self) -> None:
        """Nothing was opened."""

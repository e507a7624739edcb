"""The protocol of a sensor of a GPU, and what stands in when no sensor could be opened."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bench.records import Gauges

# The fields of Gauges that a sensor reads: all of them but the reasons.
LEVELS = tuple(name for name in Gauges.__struct_fields__ if name != "missing")


class Memory(NamedTuple):
    """Bytes of memory that a child process holds; None where a size is unknown or does not exist.

    `peak`: the most that the network held. `reserved`: the most that torch's allocator took from
    the GPU. `process`: what the driver says that the process holds on the GPU now.
    """

    peak: int | None = None
    reserved: int | None = None
    process: int | None = None

    @property
    def largest(self) -> int | None:
        """Bytes that another child process like this one may need: the largest known size."""
        return max((size for size in self if size is not None), default=None)


class Sensor(Protocol):
    """Reads a GPU. No method raises: a value that cannot be read is None, with a reason."""

    def gauges(self) -> Gauges:
        """The levels now, in SI units; `missing` has one reason for each level that is None.

        A call takes milliseconds, so it never happens inside a timed block.
        """

    def energy_j(self) -> float | None:
        """Joules since a fixed moment in the past, by a counter of the chip; None without one."""

    def close(self) -> None:
        """Release what the sensor opened. A second call does nothing."""


class Blind:
    """The sensor to use when no other could be opened: it reads nothing and gives the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def gauges(self) -> Gauges:
        """Every level is None, for the one reason."""
        return Gauges(missing=dict.fromkeys(LEVELS, self._reason))

    def energy_j(self) -> float | None:
        """None: no counter was opened."""
        return None

    def close(self) -> None:
        """Nothing was opened."""

"""What can be sensed of a GPU, whatever does it: the one shape of NVML, sysfs and jtop."""

from __future__ import annotations

from typing import Protocol

from bench.records import Gauges


class Sensor(Protocol):
    """Reads a GPU. None of its methods raises: what cannot be read is None, with a reason."""

    def gauges(self) -> Gauges:
        """Its levels now; takes milliseconds, so it is never called inside a timed block."""

    def energy_j(self) -> float | None:
        """Joules since some past moment, from a counter of the chip; None where it has none."""

    def close(self) -> None:
        """Let go of whatever was opened."""

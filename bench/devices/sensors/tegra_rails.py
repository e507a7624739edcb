"""Power rails of a Jetson module, and the sum that is the power of the whole module."""

from __future__ import annotations

from collections.abc import Iterable

from bench.devices.sensors.sysfs import UnreadableError

# Orin Nano and NX measure the total (VDD_IN). For AGX Orin the total is a sum of three rails.
# VDDQ_VDD2_1V8AO is not part of the sum: VIN_SYS_5V0 includes it ("Software-Based Power
# Consumption Modeling" in NVIDIA's guide of L4T 36.4). The total that jtop shows counts it twice.
TOTALS = [("VDD_IN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")]


def total_of(rails: Iterable[str]) -> tuple[str, ...]:
    """Return the rails whose sum is the module's power. Raises UnreadableError if unknown."""
    labels = set(rails)
    for names in TOTALS:
        if labels.issuperset(names):
            return names
    raise UnreadableError(f"no total among the rails {', '.join(sorted(labels))}")

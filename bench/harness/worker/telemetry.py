"""What a network does to a GPU: a steady loop of its own, with a look at the sensors beside it."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.conditions import known
from bench.devices.sensors.sensor import Sensor
from bench.harness.worker.timing import Clock
from bench.records import Gauges, Telemetry

SAMPLE_EVERY_S = 0.1  # drivers average utilisation over some tenths of a second


def observe(call: Callable[[], object], now: Clock, sensor: Sensor, seconds: float) -> Telemetry:
    """Call back to back for `seconds`, and read the sensor ten times a second.

    It is read between launching work and waiting for it; reading takes some milliseconds, so a
    network that is faster leaves the GPU idle for a little.
    """
    sensor.gauges()  # whatever opens at its first use does so now
    seen: list[Gauges] = []
    iterations = 0
    energy_before = sensor.energy_j()
    began = last = sampled = now()
    while last - began < seconds:
        call()
        if last - sampled >= SAMPLE_EVERY_S:
            sampled = last
            seen.append(sensor.gauges())
        iterations += 1
        last = now()
    energy_after = sensor.energy_j()
    seen = seen or [sensor.gauges()]
    missing = {name: why for gauges in seen for name, why in gauges.missing.items()}
    energy = _grown(energy_before, energy_after)
    if energy is None:
        missing["energy_j"] = missing.get("energy_j", "the chip has no counter of energy")
    return Telemetry(
        seconds=last - began,
        iterations=iterations,
        utilisation=known(gauges.utilisation for gauges in seen),
        clock_hz=known(gauges.clock_hz for gauges in seen),
        memory_clock_hz=known(gauges.memory_clock_hz for gauges in seen),
        temperature_c=known(gauges.temperature_c for gauges in seen),
        power_w=known(gauges.power_w for gauges in seen),
        throttled_by=sorted({why for gauges in seen for why in gauges.throttles or []}),
        energy_j=energy,
        missing=missing,
    )


def _grown(before: float | None, after: float | None) -> float | None:
    """What a counter grew by; None where it is missing or stood still, as a broken one does."""
    if before is None or after is None or after <= before:
        return None
    return after - before

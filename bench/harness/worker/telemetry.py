"""Reads the sensors of a GPU while a network runs in a steady loop, outside the timed blocks."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.conditions import known
from bench.devices.sensors.sensor import Sensor
from bench.harness.worker.timing import Clock
from bench.records import Gauges, Telemetry

SAMPLE_EVERY_S = 0.1  # drivers average utilisation over some tenths of a second


def observe(call: Callable[[], object], now: Clock, sensor: Sensor, seconds: float) -> Telemetry:
    """Run `call` back to back for `seconds`; read the sensor every SAMPLE_EVERY_S seconds.

    The sensor is read after `call` has launched its work and before `now` waits for the work. A
    reading takes some milliseconds. The GPU is idle for the rest of that time if the network is
    faster than the reading.
    """
    sensor.gauges()  # discarded: the first reading opens the driver, which is slow
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
    energy = _increase(energy_before, energy_after)
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


def _increase(before: float | None, after: float | None) -> float | None:
    """Return after - before; None where a value is missing or the counter did not increase."""
    if before is None or after is None or after <= before:
        return None
    return after - before

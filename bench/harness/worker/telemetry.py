"""Reads the sensors of a GPU while a network runs in a steady loop, outside the timed blocks."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.conditions import known
from bench.devices.sensors.sensor import Sensor
from bench.harness.worker.timing import Clock
from bench.records import Gauges, Telemetry

SAMPLE_EVERY_S = 0.1
SETTLE_S = 1.0  # drivers average utilisation over up to a second, which began while the chip idled
QUEUED_S = 0.02  # work that the chip has while the sensor is read, which takes some milliseconds


def observe(call: Callable[[], object], now: Clock, sensor: Sensor, seconds: float) -> Telemetry:
    """Run `call` back to back for `seconds`; read the sensor every SAMPLE_EVERY_S seconds.

    Calls are queued in groups of about QUEUED_S, so that the chip does not idle while the sensor is
    read. Readings of the first SETTLE_S seconds do not count, or of the first half of a shorter
    loop.
    """
    sensor.gauges()  # discarded: the first reading opens the driver, which is slow
    queued = _calls_in(QUEUED_S, call, now)
    settled_s = min(SETTLE_S, seconds / 2)
    seen: list[Gauges] = []
    iterations = 0
    energy_before = sensor.energy_j()
    began = last = sampled = now()
    while last - began < seconds:
        for _ in range(queued):
            call()
        if last - sampled >= SAMPLE_EVERY_S:
            sampled = last
            gauges = sensor.gauges()
            seen += [gauges] if last - began >= settled_s else []
        iterations += queued
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


def _calls_in(seconds: float, call: Callable[[], object], now: Clock) -> int:
    """Return the number of calls that take about `seconds`, and at least 1."""
    began = now()
    call()
    return max(1, round(seconds / max(now() - began, 1e-6)))


def _increase(before: float | None, after: float | None) -> float | None:
    """Return after - before; None where a value is missing or the counter did not increase."""
    if before is None or after is None or after <= before:
        return None
    return after - before

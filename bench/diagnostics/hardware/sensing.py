"""Lines on sensors: utilisation against a known duty, and energy against power x time."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.devices.sensors.sensor import Sensor
from bench.diagnostics.hardware.instruments import Instruments
from bench.diagnostics.hardware.line import Line, impossible, judged

DUTIES = (0.0, 0.5, 1.0)
PERIOD_S = 0.04
DUTY_S = 4.0
SETTLING_S = 1.5  # a driver averages over up to a second
DUTY_TOLERATED = 0.15
POWER_S = 6.0
SAMPLE_S = 0.1
ENERGY_TOLERATED = 0.1
NO_SENSOR = "the device has no sensor of its own"
UTILISATION = "utilisation against a known duty"
ENERGY = "energy against power x time"


class Duty(NamedTuple):
    """The share of time in which the device was kept busy, and the driver's samples of it."""

    busy: float
    samples: list[float]


class Power(NamedTuple):
    """Seconds, watts and joules (by the chip's counter, None if it has none) at one moment."""

    at_s: float
    power_w: float
    energy_j: float | None


def lines(instruments: Instruments) -> Iterator[Line]:
    """Yield the lines on utilisation and energy."""
    sensor = instruments.session.sensor()
    if sensor is None:
        yield impossible(UTILISATION, NO_SENSOR)
        yield impossible(ENERGY, NO_SENSOR)
        return
    yield utilisation(instruments, sensor)
    yield energy(instruments, sensor)


def utilisation(instruments: Instruments, sensor: Sensor) -> Line:
    """Keep the device busy for known shares of the time; the driver must report them."""
    first = sensor.gauges()
    if first.utilisation is None:
        return impossible(UTILISATION, first.missing.get("utilisation", "no reading"))
    instruments.burn(SAMPLE_S)  # loads the library of the product
    found = [_duty(instruments, sensor, wanted) for wanted in DUTIES]
    means = [statistics.fmean(each.samples) if each.samples else -1.0 for each in found]
    pairs = list(zip(found, means, strict=True))
    return judged(
        UTILISATION,
        all(abs(mean - each.busy) <= DUTY_TOLERATED for each, mean in pairs),
        seen="; ".join(f"{mean:.2f} at a duty of {each.busy:.2f}" for each, mean in pairs),
        limit=f"within {DUTY_TOLERATED:g} of the duty",
        why="the driver's utilisation does not follow the load",
        raw={"duties": [each._asdict() for each in found]},
    )


def _duty(instruments: Instruments, sensor: Sensor, wanted: float) -> Duty:
    """Alternate work and rest for DUTY_S; sample after SETTLING_S."""
    now = instruments.seconds
    start, busy_s = now(), 0.0
    samples: list[float] = []
    while now() - start < DUTY_S:
        if wanted:
            began = now()
            instruments.burn(wanted * PERIOD_S)
            busy_s += now() - began
        if wanted < 1:
            instruments.rest((1 - wanted) * PERIOD_S)
        if now() - start > SETTLING_S:
            seen = sensor.gauges().utilisation
            samples += [] if seen is None else [seen]
    return Duty(busy_s / (now() - start), samples)


def energy(instruments: Instruments, sensor: Sensor) -> Line:
    """Compare the joules of the chip's counter with the integral of its power under full load."""
    if sensor.energy_j() is None:
        return impossible(ENERGY, "the chip has no energy counter")
    power = sensor.gauges()
    if power.power_w is None:
        return impossible(ENERGY, power.missing.get("power_w", "no reading of the power"))
    now = instruments.seconds
    instruments.burn(SETTLING_S)
    found = []
    start = now()
    while now() - start < POWER_S:
        found.append(_power(now(), sensor))
        instruments.burn(SAMPLE_S)
    return energy_line([each for each in found if each is not None])


def _power(at_s: float, sensor: Sensor) -> Power | None:
    watts = sensor.gauges().power_w
    return None if watts is None else Power(at_s, watts, sensor.energy_j())


def energy_line(found: Sequence[Power]) -> Line:
    """Judge the samples: joules of the counter / integral of the power."""
    raw = {"samples": [each._asdict() for each in found]}
    if len(found) < 2 or found[0].energy_j is None or found[-1].energy_j is None:
        return impossible(ENERGY, "power or energy could not be read again", raw)
    if len({each.power_w for each in found}) == 1:
        same = f"all {len(found)} readings of the power are equal: the sensor is asleep"
        return impossible(ENERGY, same, raw)
    counted = found[-1].energy_j - found[0].energy_j
    summed = sum(
        (b.at_s - a.at_s) * (a.power_w + b.power_w) / 2 for a, b in itertools.pairwise(found)
    )
    ratio = counted / summed
    return judged(
        ENERGY,
        abs(ratio - 1) <= ENERGY_TOLERATED,
        seen=f"counter {counted:.1f} J, power x time {summed:.1f} J, ratio {ratio:.3f}",
        limit=f"ratio within {1 - ENERGY_TOLERATED:g} to {1 + ENERGY_TOLERATED:g}",
        why="the counter and the power disagree",
        raw=raw,
    )

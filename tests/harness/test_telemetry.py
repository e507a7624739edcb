import pytest

from bench.harness.worker.telemetry import observe
from bench.records import Gauges


class Sensor:
    """A sensor with scripted readings; the first is the one before the loop."""

    def __init__(self, *readings, energy=None):
        self.readings = list(readings)
        self.read = 0
        self.energy = iter(energy or [])

    def gauges(self):
        self.read += 1
        return self.readings[min(self.read - 1, len(self.readings) - 1)]

    def energy_j(self):
        return next(self.energy, None)


class Chip:
    """A clock that each call advances."""

    def __init__(self, step):
        self.time, self.step = 5.0, step

    def now(self):
        return self.time

    def call(self):
        self.time += self.step


def observed(sensor, seconds=5.0, step=0.02):
    chip = Chip(step)
    return observe(chip.call, chip.now, sensor, seconds)


def test_the_loop_lasts_for_seconds_and_reads_the_sensor_ten_times_a_second():
    seen = observed(Sensor(Gauges(utilisation=0.7, power_w=50.0)))
    assert seen.seconds == pytest.approx(5.0, abs=0.03)
    assert seen.iterations == pytest.approx(250, abs=1)
    assert 30 <= len(seen.utilisation) <= 40
    assert set(seen.utilisation) == {0.7}
    assert set(seen.power_w) == {50.0}


def test_a_long_call_is_followed_by_one_reading_each():
    seen = observed(Sensor(Gauges(utilisation=1.0)), step=0.5)
    assert (seen.iterations, len(seen.utilisation)) == (10, 8)


def test_readings_of_the_first_second_do_not_count():
    chip = Chip(0.02)

    class Averaging(Sensor):
        def gauges(self):
            return Gauges(utilisation=min((chip.time - 5.0) / 1.0, 1.0))

    assert set(observe(chip.call, chip.now, Averaging(), 5.0).utilisation) == {1.0}


def test_the_chip_has_work_of_twenty_milliseconds_while_the_sensor_is_read():
    waiting, seen = [], []
    chip = Chip(0.001)

    class Watching(Sensor):
        def gauges(self):
            seen.append(len(waiting))
            return Gauges()

    def call():
        waiting.append(0.001)

    def now():
        while waiting:
            chip.time += waiting.pop()
        return chip.time

    observe(call, now, Watching(), 5.0)
    assert set(seen[1:]) == {20}  # the first reading opens the driver


def test_a_call_longer_than_the_loop_still_has_a_reading():
    seen = observed(Sensor(Gauges(utilisation=0.9, missing={"power_w": "no"})), step=12.0)
    assert (seen.iterations, seen.utilisation) == (1, [0.9])
    assert seen.missing["power_w"] == "no"


def test_energy_is_the_increase_of_its_counter():
    assert observed(Sensor(Gauges(), energy=[100.0, 850.0])).energy_j == 750.0


@pytest.mark.parametrize("energy", [None, [5.0], [5.0, 5.0], [5.0, 4.0]])
def test_a_counter_that_is_missing_or_stands_still_gives_no_energy_but_a_reason(energy):
    seen = observed(Sensor(Gauges(), energy=energy))
    assert seen.energy_j is None
    assert "no counter of energy" in seen.missing["energy_j"]


def test_failed_readings_are_omitted_and_their_reason_is_kept():
    blind = Gauges(power_w=9.0, missing={"utilisation": "NVML: Not Supported"})
    seen = observed(Sensor(Gauges(), Gauges(utilisation=0.5, power_w=8.0), blind), step=1.0)
    assert seen.utilisation == [0.5]
    assert seen.power_w[:2] == [8.0, 9.0]
    assert seen.missing["utilisation"] == "NVML: Not Supported"


def test_throttle_reasons_of_all_readings_are_collected():
    heat, cap = Gauges(throttles=["hw_slowdown"]), Gauges(throttles=["sw_power_cap"])
    seen = observed(Sensor(Gauges(), heat, cap), step=1.0)
    assert seen.throttled_by == ["hw_slowdown", "sw_power_cap"]

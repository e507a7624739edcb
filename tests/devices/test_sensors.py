"""The contract of a sensor, over every sensor of `bench`. A new sensor is one entry in SENSORS."""

import importlib
import itertools
import pkgutil
import re
import sys
from contextlib import closing

import pytest
from support import fake_jtop, fake_pynvml
from support.fake_jtop import START_S
from support.jetson_trees import TREES
from support.paths import write_tree

from bench import devices
from bench.devices.fake import FakeSensor
from bench.devices.orin import _BoardThenJtop
from bench.devices.sensors import nvml
from bench.devices.sensors.jtop import JtopSensor
from bench.devices.sensors.sensor import LEVELS, MissingSensor, Sensor
from bench.devices.sensors.tegra import Board
from bench.records import Gauges

# Narrow ranges, so that a unit that is not SI fails: kHz, MHz, mW, per cent, m°C.
RANGES = {
    "utilisation": (0, 1),
    "clock_hz": (1e7, 1e10),
    "memory_clock_hz": (1e7, 1e10),
    "temperature_c": (-50, 150),
    "power_w": (0.1, 5000),
}
# Records of the fake device are compared with records of older releases, which lack this reason.
NO_REASON = {FakeSensor: {"memory_clock_hz"}}
NANO = TREES["JetPack 6, Orin Nano 8GB"].files
NO_LOAD = {path: text for path, text in NANO.items() if not path.endswith("/load")}


def gpu(*boards, **options):
    """Open the first of the GPUs through the fake pynvml."""

    def make(monkeypatch, folder):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml.pynvml(*boards, **options))
        return nvml.open_gpu()

    return make


def board(files):
    """Return a Jetson board with the given files."""
    return lambda monkeypatch, folder: Board(write_tree(folder, files))


def jtop(behaviour):
    """Return a JtopSensor whose fake service has the given behaviour."""

    def make(monkeypatch, folder):
        fake_jtop.install(monkeypatch, folder, behaviour)
        return JtopSensor(START_S, interval_s=0.02)

    return make


def board_then_jtop(files, behaviour):
    """Return the sensor of an Orin: a board with the given files, then jtop."""

    def make(monkeypatch, folder):
        fake_jtop.install(monkeypatch, folder / "site", behaviour)
        return _BoardThenJtop(Board(write_tree(folder, files)))

    return make


LOST = dict.fromkeys(fake_pynvml.ARGUMENTS, "GpuIsLost")
for needed in ("nvmlInit", "nvmlDeviceGetHandleByIndex"):  # without them no GPU can be opened
    del LOST[needed]
SENSORS = {  # the name of a test -> a function of (monkeypatch, folder) that makes the sensor
    "nvml: H200": gpu(fake_pynvml.h200()),
    "nvml: MIG instance": gpu(fake_pynvml.mig_a100()),
    "nvml: Orin": gpu(fake_pynvml.orin()),
    "nvml: GPU is lost": gpu(fake_pynvml.h200(), errors=LOST),
    **{f"tegra: {name}": board(tree.files) for name, tree in TREES.items()},
    "tegra: a tree without /load": board(NO_LOAD),
    "tegra: no Jetson": board({}),
    "jtop: good": jtop("good"),
    "jtop: not installed": jtop("not installed"),
    "jtop: service absent": jtop("absent"),
    "orin: board alone": board_then_jtop(NANO, "not installed"),
    "orin: board, then jtop": board_then_jtop(NO_LOAD, "good"),
    "orin: neither": board_then_jtop({}, "not installed"),
    "blind": lambda monkeypatch, folder: MissingSensor("no sensor was opened"),
    "fake": lambda monkeypatch, folder: FakeSensor(itertools.count().__next__, 3e9),
}


@pytest.fixture(params=SENSORS)
def sensor(request, monkeypatch, tmp_path):
    with closing(SENSORS[request.param](monkeypatch, tmp_path)) as made:
        yield made


def check(sensor):
    """Assert that one reading follows the protocol."""
    gauges = sensor.gauges()
    assert isinstance(gauges, Gauges)
    absent = {name for name in LEVELS if getattr(gauges, name) is None}
    # `missing` has a reason for each None, and no others.
    assert set(gauges.missing) == absent - NO_REASON.get(type(sensor), set())
    assert all(reason.strip() and reason.isprintable() for reason in gauges.missing.values())
    for name, (low, high) in RANGES.items():
        if name not in absent:
            assert low <= getattr(gauges, name) <= high, name
    if "throttles" not in absent:
        assert all(re.fullmatch("[a-z0-9_]+", name) for name in gauges.throttles)
        assert len(set(gauges.throttles)) == len(gauges.throttles)


def test_gauges_are_in_si_units_and_each_none_has_a_reason(sensor):
    for _ in range(3):
        check(sensor)


def test_energy_is_none_or_never_falls(sensor):
    energies = [sensor.energy_j() for _ in range(3)]
    if None in energies:
        assert energies == [None] * 3
    else:
        assert min(energies) >= 0
        assert energies == sorted(energies)


def test_a_sensor_can_be_closed_twice_and_read_afterwards(sensor):
    check(sensor)
    sensor.close()
    sensor.close()
    check(sensor)
    sensor.energy_j()


def test_an_unused_sensor_can_be_closed(sensor):
    sensor.close()
    check(sensor)


def test_every_level_has_a_range():
    assert {*RANGES, "throttles"} == set(LEVELS)


def is_sensor(thing):
    methods = ("gauges", "energy_j", "close")
    return isinstance(thing, type) and all(hasattr(thing, name) for name in methods)


def test_every_sensor_of_bench_is_in_the_table(monkeypatch, tmp_path):
    found = set()
    for entry in pkgutil.walk_packages(devices.__path__, f"{devices.__name__}."):
        module = importlib.import_module(entry.name)
        found |= {thing for thing in vars(module).values() if is_sensor(thing)}
    tested = set()
    for index, make in enumerate(SENSORS.values()):
        with closing(make(monkeypatch, tmp_path / str(index))) as made:
            tested.add(type(made))
    assert found - {Sensor} == tested

"""jtop through its child process, with a fake package: levels, failures, end of the process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from support import fake_jtop
from support.fake_jtop import START_S, samplers, until
from support.jetson_trees import AGX_POWER_W, AGX_RAILS, TREES
from support.paths import write_tree

from bench.devices.sensors import jtop, jtop_reading
from bench.devices.sensors.jtop import JtopSensor, combined
from bench.devices.sensors.jtop_reading import gauges_of
from bench.devices.sensors.sensor import LEVELS, MissingSensor
from bench.devices.sensors.tegra import Board
from bench.records import Gauges

INTERVAL_S = 0.02


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Install a fake jtop with the given behaviour."""
    return lambda behaviour: fake_jtop.install(monkeypatch, tmp_path / "site", behaviour)


def stated_failure(deadline_s=START_S):
    """Return the reason after the sensor has given up; good answers may come first."""
    with closing(JtopSensor(deadline_s, INTERVAL_S)) as sensor:
        assert until(lambda: sensor.gauges().utilisation is None)
        seen = sensor.gauges()
        assert samplers() == []  # the process ends before close
        assert sensor.gauges() == seen
    assert [getattr(seen, name) for name in LEVELS] == [None] * len(LEVELS)
    assert set(seen.missing) == set(LEVELS)
    (reason,) = set(seen.missing.values())
    return reason


def test_levels_of_a_good_service_are_in_si_units_and_change(fake):
    fake("good")
    with closing(JtopSensor(START_S, INTERVAL_S)) as sensor:
        first = sensor.gauges()
        assert first.clock_hz == 1020e6
        assert first.memory_clock_hz == 2133e6
        assert first.temperature_c == 51.25
        assert first.power_w == 9.25
        assert first.throttles is None
        assert first.missing == {"throttles": "jtop does not tell"}
        assert until(lambda: sensor.gauges().utilisation > first.utilisation)
        assert 0 < first.utilisation < sensor.gauges().utilisation <= 0.5
        assert sensor.energy_j() is None


def test_the_first_answer_after_a_pause_is_new(fake, tmp_path):
    fake("good")
    with closing(JtopSensor(START_S, INTERVAL_S)) as sensor:
        sensor.gauges()
        before = fake_jtop.reads(tmp_path / "site")
        assert until(lambda: fake_jtop.reads(tmp_path / "site") >= before + 5)
        made = fake_jtop.reads(tmp_path / "site")
        assert sensor.gauges().utilisation >= fake_jtop.utilisation(made) - 1e-9


def test_an_unused_sensor_starts_no_process(fake):
    fake("good")
    sensor = JtopSensor()
    assert samplers() == []
    sensor.close()
    assert set(sensor.gauges().missing.values()) == {"the sensor is closed"}
    assert samplers() == []


def test_the_process_ends_by_itself_at_close_which_can_be_repeated(fake, monkeypatch):
    fake("good")
    monkeypatch.setattr(jtop, "CLOSE_S", START_S)
    sensor = JtopSensor(START_S, INTERVAL_S)
    sensor.gauges()
    process = sensor._process
    assert len(samplers()) == 1
    sensor.close()
    sensor.close()
    assert process.returncode == 0
    assert samplers() == []
    assert set(sensor.gauges().missing.values()) == {"the sensor is closed"}


def test_a_process_that_does_not_end_is_killed_within_a_second(fake, monkeypatch):
    fake("good")
    assert jtop.CLOSE_S < 1
    monkeypatch.setattr(jtop, "CLOSE_S", 0.01)
    sensor = JtopSensor(START_S, INTERVAL_S)
    sensor.gauges()
    process = sensor._process
    stopped = psutil.Process(process.pid)
    stopped.suspend()
    assert until(lambda: stopped.status() == psutil.STATUS_STOPPED)
    sensor.close()
    assert process.returncode == -signal.SIGKILL
    assert samplers() == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("not installed", "jtop is not installed: pip install jetson-stats"),
        ("broken", "jtop failed: ModuleNotFoundError: No module named 'smbus2'"),
        ("absent", jtop_reading.NOT_RUNNING),
        (
            "mismatch",
            "jtop's service is 4.2.9 and its client 7.2.0: install the same jetson-stats for "
            "both, then sudo systemctl restart jtop.service",
        ),
        ("forbidden", jtop_reading.NOT_ALLOWED),
        ("forbidden socket", jtop_reading.NOT_ALLOWED),
        ("stranger", dict(jtop_reading.MEANINGS)["Authentication"]),
        ("pythons", dict(jtop_reading.MEANINGS)["Python versions"]),
        ("no greeting", jtop_reading.SILENT),
        ("no data", jtop_reading.SILENT),
        ("unknown", "jtop failed: KeyError: 'load'"),
        ("exits", "jtop failed: SystemExit: 3"),
        ("dies", jtop_reading.LOST),
        ("breaks", jtop_reading.LOST),
        ("stops", jtop_reading.LOST),
        ("crashes", jtop.DIED),
    ],
)
def test_every_failure_has_its_own_reason(fake, behaviour, reason):
    fake(behaviour)
    assert stated_failure() == reason


def test_remedies_are_commands():
    assert "sudo usermod -aG jtop $USER" in jtop_reading.NOT_ALLOWED
    assert "sudo systemctl restart jtop.service" in jtop_reading.NOT_RUNNING


def test_the_sensor_gives_up_a_silent_service_at_the_deadline(fake):
    fake("silent")
    began = time.monotonic()
    reason = stated_failure(deadline_s=0.4)
    assert reason.startswith(jtop_reading.SILENT)
    assert time.monotonic() - began < START_S  # the service is silent for 10 minutes


def test_the_sensor_gives_up_a_service_that_becomes_silent(fake):
    fake("goes silent")
    assert stated_failure().startswith(f"{jtop_reading.SILENT}: nothing new for 36")


def test_a_process_that_cannot_start_gives_a_reason(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert stated_failure().startswith("jtop's process failed: [Errno 2]")


PARENT = """
import os, time
from bench.devices.sensors.jtop import JtopSensor

sensor = JtopSensor(20.0, 0.02)
assert sensor.gauges().clock_hz
if not os.fork():  # a child that keeps the sensor's pipes open
    time.sleep(60)
print(sensor._process.pid, flush=True)
time.sleep(60)
"""


def test_the_process_ends_after_its_parent_is_killed(fake):
    fake("good")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        try:
            sampler = psutil.Process(int(parent.stdout.readline()))
            assert sampler.is_running()
            parent.kill()
            parent.wait()
            assert until(lambda: not lives(sampler), 5)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Client:
    """A fake client of jtop; tests change its readings."""

    def __init__(self, **changes):
        self.gpu = {"ga10b": {"status": {"load": 73.4}, "freq": {"cur": 624750}}}
        self.memory = {"EMC": {"cur": 3199000}}
        self.temperature = {"GPU": {"temp": 46.218, "online": True}}
        rails = {
            label: {"volt": volts, "curr": amperes, "power": volts * amperes // 1000}
            for chip in AGX_RAILS.values()
            for label, volts, amperes in chip
            if label != "NC"
        }
        self.power = {"rail": rails, "tot": {"power": 131_052}}
        vars(self).update(changes)


def test_the_total_of_an_agx_orin_counts_each_rail_once_unlike_jtop():
    seen = gauges_of(Client())
    assert seen.power_w == pytest.approx(AGX_POWER_W, abs=3e-3)  # jtop rounds to milliwatts
    assert seen.utilisation == pytest.approx(0.734)
    assert (seen.clock_hz, seen.temperature_c) == (624.75e6, 46.218)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"gpu": {}}, {"utilisation", "clock_hz"}),
        ({"gpu": {"gpu": {}}}, {"utilisation", "clock_hz"}),
        ({"gpu": {"gpu": {"status": {}, "freq": {"cur": 0}}}}, {"utilisation", "clock_hz"}),
        ({"memory": {}}, {"memory_clock_hz"}),
        ({"memory": {"EMC": {"cur": 1}}}, {"memory_clock_hz"}),
        ({"temperature": {}}, {"temperature_c"}),
        ({"temperature": {"gpu": {"temp": -256, "online": False}}}, {"temperature_c"}),
        ({"power": {}}, {"power_w"}),
        ({"power": {"rail": {"VDD_SOC": {"power": 5}}, "tot": {"power": 5}}}, {"power_w"}),
    ],
)
def test_only_levels_that_jtop_lacks_are_missing(changes, absent):
    seen = gauges_of(Client(**changes))
    assert {name for name in LEVELS if getattr(seen, name) is None} == absent | {"throttles"}
    assert set(seen.missing) == absent | {"throttles"}


def test_zeros_that_jtop_reads_from_nvml_are_missing():
    shown = {
        "type": "integrated",
        "status": {"load": 0.0},
        "freq": {"governor": "nvml", "cur": 0},
        "power_control": "nvml",
    }
    seen = gauges_of(Client(gpu={"Orin": shown}))
    assert seen.utilisation is None
    assert seen.missing["utilisation"] == seen.missing["clock_hz"] == jtop_reading.OF_NVML
    assert seen.temperature_c == 46.218


def test_jtop_adds_levels_that_sysfs_lacks(tmp_path):
    board = Board(write_tree(tmp_path, TREES["JetPack 6, Orin Nano 8GB"].files)).gauges()
    both = combined(board, gauges_of(Client()))
    assert both.memory_clock_hz == 3199e6  # in sysfs only root can read it
    assert both.utilisation == 0.0  # zero is a level and not missing
    assert both.clock_hz == 1020e6
    assert both.throttles == []
    assert both.missing == {}


def test_a_level_that_both_lack_has_both_reasons():
    both = combined(
        Gauges(clock_hz=1e9, missing={"power_w": "no rail"}),
        MissingSensor("not installed").gauges(),
    )
    assert both.clock_hz == 1e9
    assert set(both.missing) == set(LEVELS) - {"clock_hz"}
    assert both.missing["power_w"] == "sysfs: no rail; jtop: not installed"
    assert both.missing["utilisation"] == "sysfs: not told; jtop: not installed"

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from support.jetson_trees import AGX_POWER_W, AGX_RAILS, TREES, write

from bench.devices import jtop_sampler
from bench.devices.jtop_sampler import JtopSensor, combined, gauges_of, nothing
from bench.devices.tegra import Board
from bench.records import Gauges

LEVELS = [name for name in Gauges.__struct_fields__ if name != "missing"]
BETWEEN_S = 0.02
START_S = 20.0  # far beyond what a start takes, for a machine under load

# A stand-in for jetson-stats, with its names, its exceptions and what they say.
PACKAGE = """
import os, queue, sys, threading, time

print("Skip for setup.py")  # as the real one does, on stdout
BEHAVIOUR = os.environ["FAKE_JTOP"]
if BEHAVIOUR == "not installed":
    raise ModuleNotFoundError("No module named 'jtop'", name="jtop")
if BEHAVIOUR == "broken":
    raise ModuleNotFoundError("No module named 'smbus2'", name="smbus2")


class JtopException(Exception):
    def __init__(self, message, errors=""):
        super().__init__(message, errors)
        self.message = message

    def __str__(self):
        return str(self.message)


REFUSALS = {
    "absent": JtopException(
        "The jtop.service is not active. Please run:\\nsudo systemctl restart jtop.service"
    ),
    "mismatch": JtopException(
        "Mismatch version jtop service: [4.2.9] and client: [7.2.0]. Please run:\\n\\n"
        "sudo systemctl restart jtop.service"
    ),
    "forbidden": JtopException(
        "I can't access jtop.service.\\nPlease logout or reboot this board."
    ),
    "forbidden socket": PermissionError(13, "Permission denied"),
    "stranger": JtopException("Authentication with jetson-stats server failed"),
    "pythons": JtopException("Mismatch of Python versions between library and service"),
    "no greeting": queue.Empty(),
    "no data": JtopException("Error connection"),
    "unknown": KeyError("load"),
    "exits": SystemExit(3),
}
DEATHS = {
    "dies": JtopException("Lost connection with jtop server"),
    "breaks": BrokenPipeError(32, "Broken pipe"),
}


class jtop(threading.Thread):
    def __init__(self, interval=1.0):
        super().__init__(daemon=True)
        self._interval = interval
        self._observers = set()
        self._error = None
        self._running = False
        self._reads = 0

    def attach(self, observer):
        self._observers.add(observer)

    def start(self):
        if BEHAVIOUR == "silent":
            time.sleep(600)
        if BEHAVIOUR in REFUSALS:
            raise REFUSALS[BEHAVIOUR]
        self._read()
        self._running = True
        super().start()

    def _read(self):
        self._reads += 1
        self.gpu = {
            "gpu": {
                "type": "integrated",
                "status": {"load": min(self._reads, 100) / 2},
                "freq": {"governor": "nvhost_podgov", "cur": 1020000, "max": 1020000},
                "power_control": "auto",
            }
        }
        self.memory = {"EMC": {"cur": 2133000, "val": 3}}
        self.temperature = {"cpu": {"temp": 61.0}, "gpu": {"temp": 51.25, "online": True}}
        total = {"name": "VDD_IN", "power": 9250}
        self.power = {"rail": {"VDD_SOC": {"power": 2073}}, "tot": total}
        for observer in self._observers:
            observer(self)

    def run(self):
        while True:
            time.sleep(self._interval)
            if self._reads >= 3:
                if BEHAVIOUR == "goes silent":
                    time.sleep(600)
                if BEHAVIOUR == "stops":
                    self._running = False
                    return
                if BEHAVIOUR in DEATHS:
                    self._error = DEATHS[BEHAVIOUR]
                    return
                if BEHAVIOUR == "crashes":
                    os._exit(1)
            self._read()

    def ok(self, spin=False):
        if self._error:
            raise self._error
        return self._running
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a jtop with a behaviour where the sampler finds it."""
    folder = write(tmp_path / "site", {"jtop/__init__.py": PACKAGE})
    here = os.path.dirname(os.path.dirname(os.path.dirname(jtop_sampler.__file__)))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), here]))
    return lambda behaviour: monkeypatch.setenv("FAKE_JTOP", behaviour)


def samplers():
    """Processes of the sampler below us that have not ended, or that nobody reaped."""
    found = []
    for child in psutil.Process().children(recursive=True):
        if child.status() == psutil.STATUS_ZOMBIE or "jtop_sampler" in " ".join(child.cmdline()):
            found.append(child)
    return found


def until(condition, seconds=START_S):
    """Wait for it, and say whether it came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def failure(deadline_s=START_S):
    """What a sensor says once it has given up, after any number of good answers."""
    with closing(JtopSensor(deadline_s, BETWEEN_S)) as sensor:
        assert until(lambda: sensor.gauges().utilisation is None)
        seen = sensor.gauges()
        assert samplers() == []  # given up is ended, without waiting for close
        assert sensor.gauges() == seen
    assert [getattr(seen, name) for name in LEVELS] == [None] * len(LEVELS)
    assert set(seen.missing) == set(LEVELS)
    (reason,) = set(seen.missing.values())
    return reason


def test_a_good_service_gives_levels_in_si_units_that_move_on(fake):
    fake("good")
    with closing(JtopSensor(START_S, BETWEEN_S)) as sensor:
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


def test_answers_are_new_however_long_nobody_asked(fake):
    fake("good")
    with closing(JtopSensor(START_S, BETWEEN_S)) as sensor:
        first = sensor.gauges().utilisation
        time.sleep(20 * BETWEEN_S)
        assert sensor.gauges().utilisation >= first + 5 * 0.005


def test_a_sensor_that_was_never_asked_starts_nothing(fake):
    fake("good")
    sensor = JtopSensor()
    assert samplers() == []
    sensor.close()
    assert set(sensor.gauges().missing.values()) == {"the sensor is closed"}
    assert samplers() == []


def test_close_ends_the_process_within_a_second_and_twice_is_once(fake):
    fake("good")
    sensor = JtopSensor(START_S, BETWEEN_S)
    sensor.gauges()
    assert len(samplers()) == 1
    began = time.monotonic()
    sensor.close()
    sensor.close()
    assert time.monotonic() - began < 1
    assert samplers() == []
    assert set(sensor.gauges().missing.values()) == {"the sensor is closed"}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("not installed", jtop_sampler.NOT_INSTALLED),
        ("broken", "jtop failed: ModuleNotFoundError: No module named 'smbus2'"),
        ("absent", jtop_sampler.NOT_RUNNING),
        (
            "mismatch",
            "jtop's service is 4.2.9 and its client 7.2.0: install the same jetson-stats for "
            "both, then sudo systemctl restart jtop.service",
        ),
        ("forbidden", jtop_sampler.NOT_ALLOWED),
        ("forbidden socket", jtop_sampler.NOT_ALLOWED),
        ("stranger", dict(jtop_sampler.MEANINGS)["Authentication"]),
        ("pythons", dict(jtop_sampler.MEANINGS)["Python versions"]),
        ("no greeting", jtop_sampler.SILENT),
        ("no data", jtop_sampler.SILENT),
        ("unknown", "jtop failed: KeyError: 'load'"),
        ("exits", "jtop failed: SystemExit: 3"),
        ("dies", jtop_sampler.LOST),
        ("breaks", jtop_sampler.LOST),
        ("stops", jtop_sampler.LOST),
        ("crashes", jtop_sampler.DIED),
    ],
)
def test_every_failure_has_its_own_reason(fake, behaviour, reason):
    fake(behaviour)
    assert failure() == reason


def test_remedies_are_commands():
    assert "sudo usermod -aG jtop $USER" in jtop_sampler.NOT_ALLOWED
    assert "pip install 'bench[orin]'" in jtop_sampler.NOT_INSTALLED
    assert "sudo systemctl restart jtop.service" in jtop_sampler.NOT_RUNNING


def test_a_silent_service_is_given_up_at_the_deadline(fake):
    fake("silent")
    began = time.monotonic()
    reason = failure(deadline_s=0.4)
    assert reason.startswith(jtop_sampler.SILENT)
    assert time.monotonic() - began < 0.4 + jtop_sampler.CLOSE_S + 1


def test_a_service_that_goes_silent_is_not_believed_for_ever(fake):
    fake("goes silent")
    assert failure(deadline_s=2.0).startswith(f"{jtop_sampler.SILENT}: nothing new for")


def test_a_process_that_cannot_start_is_a_reason(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert failure().startswith("jtop's process failed: [Errno 2]")


PARENT = """
import os, time
from bench.devices.jtop_sampler import JtopSensor

sensor = JtopSensor(20.0, 0.02)
assert sensor.gauges().clock_hz
if not os.fork():  # holds the sensor's pipes open
    time.sleep(60)
print(sensor._process.pid, flush=True)
time.sleep(60)
"""


def test_the_process_does_not_outlive_a_parent_that_was_killed(fake):
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
    """What a client of jtop shows, to be spoilt."""

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


def test_the_total_of_an_agx_orin_is_not_that_of_jtop_which_counts_a_rail_twice():
    seen = gauges_of(Client())
    assert seen.power_w == pytest.approx(AGX_POWER_W, abs=3e-3)  # jtop has whole milliwatts
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
def test_what_jtop_lacks_is_missing_and_nothing_else(changes, absent):
    seen = gauges_of(Client(**changes))
    assert {name for name in LEVELS if getattr(seen, name) is None} == absent | {"throttles"}
    assert set(seen.missing) == absent | {"throttles"}


def test_zeros_that_jtop_has_of_nvml_are_not_believed():
    shown = {
        "type": "integrated",
        "status": {"load": 0.0},
        "freq": {"governor": "nvml", "cur": 0},
        "power_control": "nvml",
    }
    seen = gauges_of(Client(gpu={"Orin": shown}))
    assert seen.utilisation is None
    assert seen.missing["utilisation"] == seen.missing["clock_hz"] == jtop_sampler.OF_NVML
    assert seen.temperature_c == 46.218


def test_the_boards_files_come_first_and_jtop_fills_in(tmp_path):
    board = Board(write(tmp_path, TREES["JetPack 6, Orin Nano 8GB"].files)).gauges()
    both = combined(board, gauges_of(Client()))
    assert both.memory_clock_hz == 3199e6  # for root only in the files
    assert both.utilisation == 0.0  # a level, not a lack
    assert both.clock_hz == 1020e6
    assert both.throttles == []
    assert both.missing == {}


def test_what_neither_has_has_both_reasons():
    both = combined(Gauges(clock_hz=1e9, missing={"power_w": "no rail"}), nothing("not installed"))
    assert both.clock_hz == 1e9
    assert set(both.missing) == set(LEVELS) - {"clock_hz"}
    assert both.missing["power_w"] == "sysfs: no rail; jtop: not installed"
    assert both.missing["utilisation"] == "sysfs: not told; jtop: not installed"

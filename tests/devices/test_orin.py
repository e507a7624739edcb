"""The Orin driver on recorded trees: what it is, how it is sensed, what refuses elsewhere."""

import msgspec
import pytest
import torch
from support.jetson_trees import MODE, TREES
from support.paths import write_tree
from support.records import CHIP

from bench.devices import orin
from bench.devices.orin import Orin
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError
from bench.harness.scheduler.environment import environment_id
from bench.records import Case, Gauges

NANO = TREES["JetPack 6, Orin Nano 8GB"]
AGX = TREES["JetPack 6, AGX Orin"]


@pytest.fixture
def nano(tmp_path):
    return Orin(write_tree(tmp_path, NANO.files))


def sensor_of(root):
    return orin._BoardThenJtop(Board(root))


def session_of(root):
    return orin.OrinSession(sensor_of(root), Board(root))


def test_an_orin_is_known_by_its_device_tree(nano):
    chip = nano.identify()
    assert chip.slug == "nvidia-jetson-orin-nano-engineering-reference-developer-kit-super"
    assert (chip.device, chip.kind) == ("orin", "edge")
    assert chip.facts["l4t"] == "36.4.4"
    assert chip.facts["jetpack"] == "6.2.1"
    assert chip.facts["power_mode"] == "MAXN_SUPER"
    assert chip.facts["compute_capability"] == "8.7"


@pytest.mark.parametrize("model", ["", "NVIDIA Jetson Xavier NX", "NVIDIA Jetson AGX Thor"])
def test_what_is_no_orin_says_what_was_found_and_how_to_run_there(tmp_path, model):
    board = write_tree(tmp_path, {"proc/device-tree/model": model} if model else {})
    with pytest.raises(UnavailableError) as refused:
        Orin(board).identify()
    assert (model or "no Jetson board") in refused.value.message
    assert "--device orin" in refused.value.remedy


def test_results_of_two_power_modes_are_of_two_environments(tmp_path):
    versions = {"torch": "2.8", "timm": "1", "bench": "0"}
    device = Orin(write_tree(tmp_path, NANO.files))
    before = environment_id(device, device.identify(), versions)
    assert environment_id(device, device.identify(), versions) == before
    (tmp_path / MODE).write_text("pmode:0000")
    assert environment_id(device, device.identify(), versions) != before


def test_each_reading_has_the_boards_levels_and_its_power_mode(nano, tmp_path):
    session = session_of(tmp_path)
    reading = session.sense()
    assert (reading.clock_hz, reading.temperature_c) == (1.02e9, 51.25)
    assert reading.power_w == pytest.approx(4984 * 1856 / 1e6)
    assert reading.throttles == []
    assert reading.power_mode == "MAXN_SUPER"
    assert reading.own_cpu_s > 0
    (tmp_path / MODE).write_text("pmode:0003")
    assert session.sense().power_mode == "7W"


def test_the_state_says_whether_clocks_are_locked(tmp_path):
    assert Orin(write_tree(tmp_path / "nano", NANO.files)).state()["jetson_clocks"] == "off"
    assert Orin(write_tree(tmp_path / "agx", AGX.files)).state()["jetson_clocks"] == "on"


def test_room_for_networks_is_the_boards_memory(nano):
    assert nano.free_bytes() > 0
    assert nano.foreign_processes() is None


class Jtop:
    """Stands for jtop's process."""

    made = 0

    def __init__(self):
        Jtop.made += 1
        self.closed = False

    def gauges(self):
        return Gauges(utilisation=0.25, power_w=99.0)

    def close(self):
        self.closed = True


@pytest.fixture
def jtop(monkeypatch):
    Jtop.made = 0
    monkeypatch.setattr(orin, "JtopSensor", Jtop)


def test_jtop_is_not_started_where_the_boards_files_tell_all_that_is_kept(nano, tmp_path, jtop):
    sensor = sensor_of(tmp_path)
    assert sensor.gauges().utilisation == 0.0
    assert sensor.gauges().memory_clock_hz is None  # for root only, and not worth a process
    assert Jtop.made == 0
    sensor.close()


def test_jtop_tells_what_the_boards_files_do_not(tmp_path, jtop):
    files = {path: text for path, text in NANO.files.items() if not path.endswith("/load")}
    sensor = sensor_of(write_tree(tmp_path, files))
    for _ in range(2):
        seen = sensor.gauges()
        assert seen.utilisation == 0.25
        assert seen.power_w == pytest.approx(4984 * 1856 / 1e6)  # the board's own comes first
    assert Jtop.made == 1
    sensor.close()
    assert sensor._jtop.closed


def test_where_neither_tells_there_are_both_reasons(tmp_path):
    files = {path: text for path, text in NANO.files.items() if not path.endswith("/load")}
    sensor = sensor_of(write_tree(tmp_path, files))
    seen = sensor.gauges()
    sensor.close()
    assert seen.utilisation is None
    assert "sysfs: no readable" in seen.missing["utilisation"]
    assert "jtop: jtop is not installed" in seen.missing["utilisation"]


def test_the_sensor_is_open_for_the_session_alone(nano, jtop):
    case = Case("resnet50", "plain", device="orin", threads=torch.get_num_threads())
    with nano.session(case) as session:
        assert isinstance(session.sensor(), orin._BoardThenJtop)


def test_a_chip_of_another_mode_is_another_chip():
    modes = [msgspec.structs.replace(CHIP, facts={"power_mode": mode}) for mode in ("15W", "7W")]
    assert environment_id(Orin(), modes[0], {}) != environment_id(Orin(), modes[1], {})

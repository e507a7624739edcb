"""The Orin driver on recorded sysfs trees."""

import msgspec
import pytest
import torch
from support.jetson_trees import MODE, MODEL, MODES, TREES
from support.paths import write_tree
from support.records import CHIP

from bench.devices import orin
from bench.devices.cuda import Cuda
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


def test_an_orin_is_identified_by_its_device_tree(nano):
    chip = nano.identify()
    assert chip.slug == "nvidia-jetson-orin-nano-engineering-reference-developer-kit-super"
    assert (chip.device, chip.kind) == ("orin", "edge")
    assert chip.facts["l4t"] == "36.4.4"
    assert chip.facts["jetpack"] == "6.2.1"
    assert chip.facts["power_mode"] == "MAXN_SUPER"
    assert chip.facts["compute_capability"] == "8.7"


@pytest.mark.parametrize("model", ["", "NVIDIA Jetson Xavier NX", "NVIDIA Jetson AGX Thor"])
def test_another_machine_is_refused_with_instructions(tmp_path, model):
    board = write_tree(tmp_path, {"proc/device-tree/model": model} if model else {})
    with pytest.raises(UnavailableError) as refused:
        Orin(board).identify()
    assert (model or "no Jetson board") in refused.value.message
    assert "--device orin" in refused.value.remedy


@pytest.mark.parametrize("model", ["Acme Vision Box 3", ""])
def test_an_orin_on_a_board_of_another_maker_is_an_orin(tmp_path, model):
    board = Orin(write_tree(tmp_path, {**NANO.files, MODEL: f"{model}\0"}))
    chip = board.identify()
    assert chip.name == (model or "NVIDIA Jetson Orin")
    assert chip.facts["compute_capability"] == "8.7"


def test_the_device_for_gpu_cards_names_the_device_for_an_orin(tmp_path):
    with pytest.raises(UnavailableError) as refused:
        Cuda(write_tree(tmp_path, NANO.files)).identify()
    assert "Orin" in refused.value.message
    assert "--device orin" in refused.value.remedy


def test_fixed_clocks_are_a_separate_environment_in_a_container_without_power_modes(tmp_path):
    contained = {path: text for path, text in NANO.files.items() if path not in (MODE, MODES)}
    device = Orin(write_tree(tmp_path, contained))
    before = device.identify()
    assert before.facts["power_mode"] is None
    (tmp_path / NANO.gpu / "min_freq").write_text("1020000000\n")  # by jetson_clocks
    assert environment_id(device, device.identify(), {}) != environment_id(device, before, {})


def test_each_power_mode_is_a_separate_environment(tmp_path):
    versions = {"torch": "2.8", "timm": "1", "bench": "0"}
    device = Orin(write_tree(tmp_path, NANO.files))
    before = environment_id(device, device.identify(), versions)
    assert environment_id(device, device.identify(), versions) == before
    (tmp_path / MODE).write_text("pmode:0000")
    assert environment_id(device, device.identify(), versions) != before


def test_a_reading_has_levels_and_power_mode_of_the_board(nano, tmp_path):
    session = session_of(tmp_path)
    reading = session.sense()
    assert (reading.clock_hz, reading.temperature_c) == (1.02e9, 51.25)
    assert reading.power_w == pytest.approx(4984 * 1856 / 1e6)
    assert (reading.throttles, reading.over_currents) == ([], 27_390)
    assert reading.power_mode == "MAXN_SUPER"
    assert reading.own_cpu_s > 0
    (tmp_path / MODE).write_text("pmode:0003")
    assert session.sense().power_mode == "7W"


def test_the_state_has_whether_clocks_are_locked(tmp_path):
    assert Orin(write_tree(tmp_path / "nano", NANO.files)).state()["jetson_clocks"] == "off"
    assert Orin(write_tree(tmp_path / "agx", AGX.files)).state()["jetson_clocks"] == "on"


def test_clocks_that_are_freed_during_a_run_are_a_setting_of_the_later_rounds(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(orin.CudaSession, "settings", lambda self: {"cuda": "12.6"})
    session = session_of(write_tree(tmp_path, AGX.files))
    assert session.settings() == {"cuda": "12.6", "gpu_clock_fixed": True}
    (tmp_path / AGX.gpu / "min_freq").write_text("306000000\n")  # jetson_clocks --restore
    assert session.settings()["gpu_clock_fixed"] is False
    (tmp_path / AGX.gpu / "min_freq").unlink()
    assert session.settings()["gpu_clock_fixed"] is None


def test_free_bytes_are_of_the_memory_of_the_board(nano):
    assert nano.free_bytes() > 0
    assert nano.foreign_processes() is None


class Jtop:
    """A fake JtopSensor."""

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


def test_jtop_is_not_started_if_sysfs_has_all_sampled_levels(nano, tmp_path, jtop):
    sensor = sensor_of(tmp_path)
    assert sensor.gauges().utilisation == 0.0
    assert (
        sensor.gauges().memory_clock_hz is None
    )  # only root can read it, and it is not in SAMPLED
    assert Jtop.made == 0
    sensor.close()


def test_jtop_adds_levels_that_sysfs_lacks(tmp_path, jtop):
    files = {path: text for path, text in NANO.files.items() if not path.endswith("/load")}
    sensor = sensor_of(write_tree(tmp_path, files))
    for _ in range(2):
        seen = sensor.gauges()
        assert seen.utilisation == 0.25
        assert seen.power_w == pytest.approx(4984 * 1856 / 1e6)  # sysfs takes precedence
    assert Jtop.made == 1
    sensor.close()
    assert sensor._jtop.closed


def test_a_level_that_sysfs_and_jtop_lack_has_both_reasons(tmp_path):
    files = {path: text for path, text in NANO.files.items() if not path.endswith("/load")}
    sensor = sensor_of(write_tree(tmp_path, files))
    seen = sensor.gauges()
    sensor.close()
    assert seen.utilisation is None
    assert "sysfs: no readable" in seen.missing["utilisation"]
    assert "jtop: jtop is not installed" in seen.missing["utilisation"]


def test_the_sensor_is_open_only_during_the_session(nano, jtop):
    case = Case("resnet50", "plain", device="orin", threads=torch.get_num_threads())
    with nano.session(case) as session:
        assert isinstance(session.sensor(), orin._BoardThenJtop)


def test_a_chip_in_another_power_mode_is_another_chip():
    modes = [msgspec.structs.replace(CHIP, facts={"power_mode": mode}) for mode in ("15W", "7W")]
    assert environment_id(Orin(), modes[0], {}) != environment_id(Orin(), modes[1], {})

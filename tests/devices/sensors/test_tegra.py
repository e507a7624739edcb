"""A Jetson board on recorded sysfs trees: facts, levels, and damaged files."""

import errno
import os

import pytest
from support.jetson_trees import (
    AGX_POWER_W,
    ALERT,
    BANDWIDTH,
    COMPATIBLE,
    EMC,
    EVENTS,
    HWMON,
    MODE,
    MODEL,
    MODES,
    MODULE_POWER_W,
    RELEASE,
    TREES,
    release,
)
from support.paths import write_tree

from bench.devices.sensors.sensor import LEVELS
from bench.devices.sensors.tegra import Board
from bench.devices.sensors.tegra_facts import SM_COUNTS
from bench.devices.sensors.tegra_rails import total_of

NANO = TREES["JetPack 6, Orin Nano 8GB"]
AGX = TREES["JetPack 6, AGX Orin"]


def levels_of(gauges):
    return {name: getattr(gauges, name) for name in LEVELS}


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("JetPack 5, AGX Orin", ["35.4.1", "5.1.2", "MODE_50W", 29.9, 16, "8.7", 306, 828.75]),
        ("JetPack 6, AGX Orin", ["36.4.3", "6.2", "MAXN", 61.4, 16, "8.7", 1300.5, 1300.5]),
        ("JetPack 6, Orin Nano 8GB", ["36.4.4", "6.2.1", "MAXN_SUPER", 7.4, 8, "8.7", 306, 1020]),
        ("JetPack 7, Orin NX", ["39.2.0", "7.2", "40W", 15.2, 8, "8.7", 306, 918]),
        ("JetPack 7, AGX Thor", ["38.2.0", "7.0", "120W", 122.8, None, None, 306, 1575]),
    ],
)
def test_facts_of_a_board(tmp_path, name, facts):
    names = ["l4t", "jetpack", "power_mode", "memory_gib", "sm_count", "compute_capability"]
    names += ["gpu_min_mhz", "gpu_max_mhz"]
    board = Board(write_tree(tmp_path, TREES[name].files))
    assert board.facts() == dict(zip(names, facts, strict=True))
    assert board.module() == TREES[name].files[MODEL].rstrip("\0")
    assert set(board.missing) <= {"sm_count"}


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("JetPack 5, AGX Orin", [0.734, 624.75e6, 3.199e9, 46.218, AGX_POWER_W]),
        ("JetPack 6, AGX Orin", [1.0, 1300.5e6, 3.199e9, 58.5, AGX_POWER_W]),
        ("JetPack 6, Orin Nano 8GB", [0.0, 1020e6, None, 51.25, MODULE_POWER_W]),
        ("JetPack 7, Orin NX", [0.512, 918e6, 3.199e9, 55.062, MODULE_POWER_W]),
        ("JetPack 7, AGX Thor", [None, 1575e6, 4.266e9, 64.5, None]),
    ],
)
def test_levels_of_a_board_are_in_si_units(tmp_path, name, levels):
    names = ["utilisation", "clock_hz", "memory_clock_hz", "temperature_c", "power_w"]
    board = Board(write_tree(tmp_path, TREES[name].files))
    seen = board.gauges()
    assert [getattr(seen, each) for each in names] == pytest.approx(levels)
    assert seen.throttles == []
    absent = {each for each, level in zip(names, levels, strict=True) if level is None}
    assert set(seen.missing) == absent
    assert board.energy_j() is None
    board.close()


@pytest.mark.parametrize(
    ("name", "locked", "clock_mhz"),
    [("JetPack 6, AGX Orin", "on", 1300.5), ("JetPack 7, Orin NX", "off", 918.0)],
)
def test_jetson_clocks_raises_the_lowest_clock_to_the_highest(tmp_path, name, locked, clock_mhz):
    board = Board(write_tree(tmp_path, TREES[name].files))
    assert board.clocks_locked() is (locked == "on")
    state = board.state()
    assert (state["jetson_clocks"], state["clock_mhz"]) == (locked, clock_mhz)
    assert state["power_w"] == board.gauges().power_w
    assert state["temperature_c"] == board.gauges().temperature_c


def test_another_machine_has_a_reason_for_every_level_and_fact(tmp_path):
    board = Board(tmp_path)
    seen = board.gauges()
    assert set(seen.missing) == set(LEVELS)
    assert set(levels_of(seen).values()) == {None}
    assert set(board.facts().values()) == {None}
    assert set(board.state().values()) == {None}
    assert board.module() == ""
    asked = {"l4t", "jetpack", "power_mode", "memory_gib", "sm_count", "jetson_clocks", "module"}
    asked |= {"is_orin", "gpu_min_mhz", "gpu_max_mhz"}
    assert set(board.missing) == asked
    assert f"no GPU in {tmp_path}/sys/class/devfreq" in board.missing["jetson_clocks"]


NEEDED = [
    (f"{NANO.gpu}/device/load", "utilisation"),
    (f"{NANO.gpu}/cur_freq", "clock_hz"),
    (EMC, "memory_clock_hz"),
    (f"{NANO.zone}/type", "temperature_c"),
    (f"{NANO.zone}/temp", "temperature_c"),
    (f"{HWMON}/hwmon1/name", "power_w"),
    (f"{HWMON}/hwmon1/in1_label", "power_w"),
    (f"{HWMON}/hwmon1/in1_input", "power_w"),
    (f"{HWMON}/hwmon1/curr1_input", "power_w"),
]
SPOILT = ["removed", "empty", "garbage", "folder"]


def damage(path, how):
    path.unlink()
    if how == "folder":  # a folder cannot be read as a file, not even by root
        path.mkdir()
    elif how != "removed":
        path.write_text({"empty": "\n", "garbage": "n/a\n"}[how])


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(("path", "level"), NEEDED)
def test_a_damaged_file_affects_only_its_own_level(tmp_path, path, level, how):
    root = write_tree(tmp_path, {**NANO.files, EMC: "3199000000\n"})
    whole = levels_of(Board(root).gauges())
    assert None not in whole.values()
    damage(root / path, how)
    seen = Board(root).gauges()
    assert levels_of(seen) == {**whole, level: None}
    assert set(seen.missing) == {level}
    assert seen.missing[level]


@pytest.mark.parametrize("path", [path for path, _ in NEEDED if path.endswith(("load", "freq"))])
def test_a_file_without_permission_is_named_with_the_reason(tmp_path, monkeypatch, path):
    root = write_tree(tmp_path, NANO.files)
    really = os.open

    def refuse(wanted, *arguments):
        if wanted == root / path:
            raise PermissionError(errno.EACCES, "Permission denied", str(wanted))
        return really(wanted, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    missing = Board(root).gauges().missing
    assert f"{root / path}: Permission denied" in missing.values()


def test_the_temperature_of_a_sleeping_gpu_is_missing(tmp_path, monkeypatch):
    board = Board(write_tree(tmp_path, NANO.files))
    assert board.gauges().temperature_c == 51.25
    really = os.read

    def asleep(file, most):
        if os.readlink(f"/proc/self/fd/{file}").endswith("thermal_zone1/temp"):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return really(file, most)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", asleep)
        assert "Resource temporarily unavailable" in board.gauges().missing["temperature_c"]
        assert board.gauges().clock_hz == 1020e6
    assert board.gauges().temperature_c == 51.25


@pytest.mark.parametrize("load", ["-1", "1001", "4294967295"])
def test_a_load_above_1000_per_mille_is_refused(tmp_path, load):
    seen = Board(write_tree(tmp_path, {**NANO.files, f"{NANO.gpu}/device/load": load})).gauges()
    assert seen.utilisation is None
    assert "nonsense" in seen.missing["utilisation"]


@pytest.mark.parametrize(
    ("millidegrees", "reason"),
    [("-256000", "the GPU sleeps"), ("-256001", "nonsense"), ("150001", "nonsense")],
)
def test_an_offline_zone_has_no_temperature(tmp_path, millidegrees, reason):
    files = {**NANO.files, f"{NANO.zone}/temp": millidegrees}
    seen = Board(write_tree(tmp_path, files)).gauges()
    assert seen.temperature_c is None
    assert reason in seen.missing["temperature_c"]


def test_load_is_found_at_its_place_in_older_kernels(tmp_path):
    files = {path: text for path, text in NANO.files.items() if not path.endswith("load")}
    root = write_tree(tmp_path, {**files, "sys/devices/platform/gpu.0/load": "250"})
    assert Board(root).gauges().utilisation == 0.25


def test_files_that_disappear_give_missing_levels_and_no_exception(tmp_path):
    root = write_tree(tmp_path, AGX.files)
    board = Board(root)
    assert not board.gauges().missing
    (root / "sys").rename(root / "gone")
    assert set(board.gauges().missing) == set(LEVELS)
    (root / "gone").rename(root / "sys")
    assert not board.gauges().missing


def test_thermal_slowdown_lasts_while_the_kernel_reports_it(tmp_path):
    root = write_tree(tmp_path, {**NANO.files, ALERT: "1\n"})
    board = Board(root)
    assert board.gauges().throttles == ["sw_thermal_slowdown"]
    (root / ALERT).write_text("0\n")
    assert board.gauges().throttles == []


def test_over_current_events_are_a_counter(tmp_path):
    root = write_tree(tmp_path, AGX.files)
    board = Board(root)
    assert [board.over_currents(), board.over_currents()] == [52, 52]
    (root / EVENTS[2]).write_text("38\n")
    assert board.over_currents() == 53
    assert board.gauges().throttles == []


def test_a_board_may_lack_alerts_of_heat_and_of_current(tmp_path):
    neither = {
        path: text
        for path, text in AGX.files.items()
        if "cooling_device" not in path and path not in EVENTS
    }
    board = Board(write_tree(tmp_path, neither))
    assert (board.gauges().throttles, board.over_currents()) == (None, None)
    assert "gpu-throttle-alert" in board.gauges().missing["throttles"]
    assert "over-current" in board.missing["over_currents"]


def test_power_of_an_agx_orin_counts_each_rail_once(tmp_path):
    root = write_tree(tmp_path, AGX.files)
    (root / f"{HWMON}/hwmon3/in2_input").unlink()  # the rail VDDQ_VDD2_1V8AO
    assert Board(root).gauges().power_w == pytest.approx(AGX_POWER_W)


def test_power_is_missing_if_no_rails_add_up_to_the_total(tmp_path):
    root = write_tree(tmp_path, NANO.files)
    (root / f"{HWMON}/hwmon1/in1_label").unlink()
    why = Board(root).gauges().missing["power_w"]
    assert why == "no total among the rails VDD_CPU_GPU_CV, VDD_SOC"
    assert total_of(["VDD_SOC", "VDD_IN"]) == ("VDD_IN",)


def test_the_memory_clock_needs_root_or_devfreq(tmp_path):
    root = write_tree(tmp_path, NANO.files)
    assert EMC in Board(root).gauges().missing["memory_clock_hz"]
    write_tree(root, {BANDWIDTH: "2133000000"})
    assert Board(root).gauges().memory_clock_hz == 2.133e9


@pytest.mark.parametrize(
    ("text", "l4t", "jetpack"),
    [
        (release(35, "6.3"), "35.6.3", "5"),
        (release(36, "99.1"), "36.99.1", "6"),
        (release(39, "2.1"), "39.2.1", "7.2.1"),
        (release(41, "0.0"), "41.0.0", None),
        ("# R36\n", None, None),
        ("", None, None),
    ],
)
def test_jetpack_of_an_unlisted_l4t_is_its_major_number(tmp_path, text, l4t, jetpack):
    board = Board(write_tree(tmp_path, {RELEASE: text}))
    assert (board.l4t(), board.jetpack()) == (l4t, jetpack)
    assert ("jetpack" in board.missing) == (jetpack is None)


@pytest.mark.parametrize(
    ("changed", "mode"),
    [
        ({}, "MAXN_SUPER"),
        ({MODE: "pmode:0000"}, "15W"),
        ({MODE: "pmode:0007"}, "mode 7"),
        ({MODES: ""}, "mode 2"),
        ({MODES: "binary\0nonsense"}, "mode 2"),
        ({MODE: "fmode:quiet"}, None),
        ({MODE: ""}, None),
    ],
)
def test_the_power_mode_is_named_by_the_configuration(tmp_path, changed, mode):
    board = Board(write_tree(tmp_path, {**NANO.files, **changed}))
    assert board.power_mode() == mode
    assert ("power_mode" in board.missing) == (mode is None)


def test_the_reason_disappears_when_the_fact_can_be_read(tmp_path):
    board = Board(tmp_path)
    assert board.power_mode() is None
    assert board.missing["power_mode"] == f"no {tmp_path / MODE}"
    write_tree(tmp_path, NANO.files)
    assert board.power_mode() == "MAXN_SUPER"
    assert "power_mode" not in board.missing


@pytest.mark.parametrize(
    ("model", "part", "count"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "p3701-0004", 14),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit", "p3767-0004", 4),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "", 8),
        ("NVIDIA Jetson AGX Orin 32GB", "", 14),
        ("NVIDIA Jetson AGX Orin 64GB", "", 16),
        ("NVIDIA Jetson Orin Nano (4GB ram)", "", 4),
        ("NVIDIA Jetson Orin Nano 8GB", "", 8),
        ("NVIDIA Jetson AGX Orin Developer Kit", "", None),
        ("NVIDIA Jetson Orin Nano Developer Kit", "", None),
    ],
)
def test_multiprocessors_are_known_by_part_number_then_by_name(tmp_path, model, part, count):
    board = Board(write_tree(tmp_path, {MODEL: model + "\0", COMPATIBLE: part}))
    assert board.facts()["sm_count"] == count
    assert count in {None, *(known for _, known in SM_COUNTS)}

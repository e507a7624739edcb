"""What `bench` reads on Orin boards, built from public dumps, and what doctor says there."""

from typing import NamedTuple

import pytest
from msgspec import structs
from support.jetson_trees import AGX_POWER_W, EMC, EVENTS, MODE, MODULE_POWER_W
from support.paths import write_tree
from support.recorded_boards import BOARDS

from bench.devices.installation import how_to_install
from bench.devices.orin import Orin, OrinSession
from bench.devices.sensors.tegra import Board
from bench.diagnostics import doctor
from bench.diagnostics.hardware import met
from bench.harness.scheduler.environment import environment_id

NANO = "nvidia-jetson-orin-nano-engineering-reference-developer-kit-super"
NX = "nvidia-jetson-orin-nx-engineering-reference-developer-kit-super"
AGX = "nvidia-jetson-agx-orin-developer-kit"


class Expected(NamedTuple):
    """What one board must give: slug, facts, levels, events, and whether the clocks are locked."""

    slug: str
    jetpack: str | None
    mode: str | None
    memory_gib: float
    sm_count: int
    gpu_mhz: tuple[float, float]
    clock_mhz: float | None
    temperature_c: float | None
    power_w: float | None
    over_currents: int | None
    locked: str = "off"


EXPECTED = {
    "JetPack 5, AGX Orin asleep": Expected(
        "jetson-agx-orin-developer-kit",
        *("5.0.2", "MAXN", 29.9, 16, (306, 1300.5)),
        *(None, None, AGX_POWER_W, None),
    ),
    "JetPack 5, Orin NX": Expected(
        "nvidia-orin-nx-developer-kit",
        *("5.1.2", "25W", 15.2, 8, (306, 408)),
        *(408, 48, MODULE_POWER_W, None),
    ),
    "JetPack 6, Orin Nano Super": Expected(
        *(NANO, "6.2.1", "MAXN_SUPER", 7.4, 8, (1020, 1020)),
        *(1020, 48, MODULE_POWER_W, 27_390, "on"),
    ),
    "JetPack 6, Orin NX Super 8GB": Expected(
        *(NX, "6.2.1", "MAXN_SUPER", 7.4, 8, (306, 1173)),
        *(306, 48, MODULE_POWER_W, 0),
    ),
    "JetPack 6, AGX Orin 32GB": Expected(
        *(AGX, "6.2", "MODE_30W", 29.9, 14, (306, 612)),
        *(612, 48, AGX_POWER_W, 52),
    ),
    "JetPack 6, Orin Nano Super in a container": Expected(
        *(NANO, "6.2.1", None, 7.4, 8, (306, 1020)),
        *(306, 48, MODULE_POWER_W, 0),
    ),
    "An Orin Nano Super without its release": Expected(
        *(NANO, None, None, 7.4, 8, (306, 1020)),
        *(306, 48, MODULE_POWER_W, 0),
    ),
    "JetPack 6, Orin NX read by a user": Expected(
        *(NX, "6.2.1", None, 14.9, 8, (306, 918)),
        *(918, 48, None, None),
    ),
    "JetPack 7, AGX Orin": Expected(
        *(AGX, "7.2", "MAXN", 61.4, 16, (1300.5, 1300.5)),
        *(1300.5, 48, AGX_POWER_W, 0, "on"),
    ),
    "JetPack 7, Orin Nano Super": Expected(
        *(NANO, "7.2.1", "15W", 7.4, 8, (306, 611)),
        *(306, 48, MODULE_POWER_W, 0),
    ),
}
each_board = pytest.mark.parametrize("name", BOARDS)


@each_board
def test_the_chip_is_named_and_described(tmp_path, monkeypatch, name):
    chip = Orin(BOARDS[name].plant(tmp_path, monkeypatch)).identify()
    expected = EXPECTED[name]
    assert chip.slug == expected.slug
    facts = ["jetpack", "power_mode", "memory_gib", "sm_count", "gpu_min_mhz", "gpu_max_mhz"]
    assert [chip.facts[fact] for fact in facts] == [*expected[1:5], *expected.gpu_mhz]
    assert chip.facts["compute_capability"] == "8.7"


@each_board
def test_a_reading_has_what_the_board_tells_and_a_reason_for_the_rest(tmp_path, monkeypatch, name):
    board = Board(BOARDS[name].plant(tmp_path, monkeypatch))
    seen = OrinSession(board, board).sense()
    expected = EXPECTED[name]
    clock_hz = None if expected.clock_mhz is None else expected.clock_mhz * 1e6
    assert (seen.clock_hz, seen.temperature_c) == (clock_hz, expected.temperature_c)
    assert seen.power_w == (None if expected.power_w is None else pytest.approx(expected.power_w))
    assert (seen.throttles, seen.over_currents) == ([], expected.over_currents)
    assert seen.power_mode == expected.mode
    levels = {"clock_hz", "temperature_c", "power_w", "throttles"}
    absent = {level for level in levels if getattr(seen, level) is None}
    assert absent == levels & seen.missing.keys()


@each_board
def test_doctor_names_the_board_and_tells_whether_its_clocks_are_locked(
    tmp_path, monkeypatch, name
):
    driver = Orin(BOARDS[name].plant(tmp_path, monkeypatch))
    monkeypatch.setattr(driver, "prove", lambda chip: None)
    monkeypatch.setattr(doctor, "DEVICES", {"orin": driver})
    found = {finding.about: finding for finding in doctor._devices()}
    chip, expected = driver.identify(), EXPECTED[name]
    told = f"l4t {chip.facts['l4t']}, " if expected.jetpack else "7.4 GiB memory"
    assert found["device orin"].text.startswith(f"{chip.name}: {told}")
    assert ("power mode" in found["device orin"].text) == (expected.mode is not None)
    state = found["state of orin"].text
    assert state.startswith(f"jetson clocks {expected.locked}")
    known = {"clock mhz": expected.clock_mhz, "temperature c": expected.temperature_c}
    assert {word: word in state for word in known} == {
        word: value is not None for word, value in known.items()
    }
    assert ("jetson_clocks" in found) == (expected.locked == "off")


@each_board
def test_a_first_contact_saves_what_gives_the_same_reading(tmp_path, monkeypatch, name):
    root = BOARDS[name].plant(tmp_path / "board", monkeypatch)
    saved = met.tree(root, [])
    unreadable = {path for path, text in saved.items() if not isinstance(text, str)}
    assert unreadable == set(BOARDS[name].errors)
    texts = {path: text for path, text in saved.items() if isinstance(text, str)}
    replayed = Board(write_tree(tmp_path / "replayed", texts))
    assert replayed.facts() == Board(root).facts()
    before, after = Board(root).gauges(), replayed.gauges()
    assert structs.replace(after, missing={}) == structs.replace(before, missing={})
    assert after.missing.keys() == before.missing.keys()


def test_no_two_boards_share_an_environment(tmp_path, monkeypatch):
    chips = []
    for number, tree in enumerate(BOARDS.values()):
        with monkeypatch.context() as patch:
            chips.append(Orin(tree.plant(tmp_path / str(number), patch)).identify())
    assert len({environment_id(Orin(), chip, {}) for chip in chips}) == len(BOARDS)


def test_a_sleeping_gpu_and_a_file_for_root_only_are_told_apart(tmp_path, monkeypatch):
    asleep = Board(BOARDS["JetPack 5, AGX Orin asleep"].plant(tmp_path / "asleep", monkeypatch))
    assert "the GPU sleeps" in asleep.gauges().missing["temperature_c"]
    tree = BOARDS["JetPack 6, Orin NX read by a user"]
    forbidden = Board(tree.plant(tmp_path / "forbidden", monkeypatch))
    missing = forbidden.gauges().missing
    assert forbidden.facts()["power_mode"] is forbidden.over_currents() is None
    reasons = [missing["memory_clock_hz"], missing["power_w"]]
    reasons += [forbidden.missing["power_mode"], forbidden.missing["over_currents"]]
    files = [EMC, "sys/class/hwmon/hwmon1/curr1_input", MODE, EVENTS[0]]
    assert reasons == [f"{tmp_path}/forbidden/{file}: Permission denied" for file in files]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("JetPack 5, Orin NX", "Install JetPack 6 or 7"),
        ("JetPack 6, Orin NX Super 8GB", "jp6/cu126 torch"),
        ("JetPack 7, Orin Nano Super", "sbsa/cu130 torch"),
        ("An Orin Nano Super without its release", "the board's vendor has for its JetPack"),
    ],
)
def test_the_remedy_for_a_missing_torch_is_of_the_boards_jetpack(
    tmp_path, monkeypatch, name, remedy
):
    root = BOARDS[name].plant(tmp_path, monkeypatch)
    assert remedy in how_to_install("torch", root=root)
    again = how_to_install("torch", again=True, root=root)
    assert "--no-deps" in again or "pip" not in again


@each_board
def test_doctor_tries_the_imports_on_every_board(tmp_path, monkeypatch, name):
    board = Board(BOARDS[name].plant(tmp_path, monkeypatch))
    assert board.is_jetson()
    monkeypatch.setattr(doctor, "Board", lambda: board)
    monkeypatch.setattr(doctor, "TRIED_IMPORTS", {"torch": "raise SystemExit('broken')"})
    assert "import torch" in {finding.about for finding in doctor._software()}

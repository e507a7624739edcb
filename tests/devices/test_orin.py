"""The Orin driver on recorded sysfs trees."""

from pathlib import Path

import msgspec
import pytest
import torch
from support.jetson_trees import EVENTS, MODE, MODEL, MODES, TREES
from support.paths import write_tree
from support.records import CHIP, ENVIRONMENT, OBSERVED, QUIET, timed

from bench.analysis.conditions import conditions_over
from bench.analysis.reasons import Observation
from bench.analysis.settings import alike
from bench.analysis.verdict import Machine, Quiet, judge, judge_case
from bench.devices import clocks, orin
from bench.devices.cuda import Cuda, CudaSession
from bench.devices.kernels import Kernels
from bench.devices.orin import Orin
from bench.devices.sensors.tegra import Board
from bench.errors import UnavailableError
from bench.harness.plan import PRESETS
from bench.harness.protocol.messages import Finish, Job, RunBlock
from bench.harness.scheduler.environment import environment_id
from bench.harness.scheduler.record import _declared
from bench.harness.worker.blocks import serve_blocks
from bench.harness.worker.scenarios import block_of
from bench.harness.worker.timing import StageClock
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


class OnCpu(orin.OrinSession):
    """A session of a board whose work runs on the CPU."""

    def now(self):
        return clocks.monotonic()

    def device_times(self, call, iterations):
        return []


class Turns:
    """A parent that asks for blocks; between them, `others` compute."""

    def __init__(self, blocks, others):
        self._left, self._others = blocks, others

    def receive_request(self):
        self._left -= 1
        return RunBlock(2, 1) if self._left >= 0 else Finish()

    def send(self, message):
        self._others()


def conditions_of(session, call, others=lambda: None, blocks=2):
    """Time blocks of `call` as a child does; return the conditions of its round."""
    case = Case("resnet50", "plain", device="orin", threads=1)
    kernels, clock = Kernels(lambda: None, lambda: None), StageClock(session.now, lambda _: None)
    job = Job(case, 1, PRESETS["quick"], None)
    timer = block_of(case.when, call, session, ())
    served = serve_blocks(Turns(blocks, others), job, session, clock, kernels, call, timer)
    return conditions_over(served.readings, idles=True)


def test_over_currents_count_in_blocks_of_this_network_only(nano, tmp_path):
    counter = tmp_path / EVENTS[2]

    def happen(events):
        counter.write_text(f"{int(counter.read_text()) + events}\n")

    board = Board(tmp_path)
    found = conditions_of(
        OnCpu(board, board), call=lambda: happen(1), others=lambda: happen(1000), blocks=3
    )
    assert found.over_currents == 3 * 2  # two timed calls a block; a third call is discarded


LOCKED, FREE = "1020 to 1020 MHz", "306 to 1020 MHz"


def free_clocks(root: Path, low_hz=306_000_000):
    (root / NANO.gpu / "min_freq").write_text(f"{low_hz}\n")


@pytest.fixture
def undone(nano, tmp_path, monkeypatch):
    """Three rounds of one run: clocks are locked, undone within the second, and stay so."""
    monkeypatch.setattr(CudaSession, "settings", lambda self: {"cuda": "12.6"})
    free_clocks(tmp_path, 1_020_000_000)
    environment = msgspec.structs.replace(ENVIRONMENT, chip=nano.identify())
    records = []
    for number in (1, 2, 3):
        board = Board(tmp_path)
        session = OnCpu(board, board)
        undo = (lambda: free_clocks(tmp_path)) if number == 2 else lambda: None
        met = _declared(conditions_of(session, call=lambda: None, others=undo), environment, 0)
        changes = {
            "settings": session.settings(),
            "conditions": msgspec.structs.replace(
                QUIET, clock_limits=met.clock_limits, power_modes=met.power_modes
            ),
        }
        records.append(timed("resnet50", round_number=number, **{**OBSERVED, **changes}))
    return records


def test_clocks_that_are_no_longer_locked_are_a_doubt(undone):
    assert [each.conditions.clock_limits for each in undone] == [[LOCKED], *[[LOCKED, FREE]] * 2]
    verdicts = [judge(each, Machine(Quiet(1e-3, 1e-3))) for each in undone]
    assert [each.level for each in verdicts] == ["VALID", "SUSPECT", "SUSPECT"]
    (reason,) = verdicts[1].reasons
    assert reason.text == f"the limits of the GPU's clock changed: {LOCKED}, then {FREE}"
    assert "sudo jetson_clocks" in reason.doubt.value


def test_rounds_with_other_limits_of_the_clock_are_not_pooled(undone):
    assert [alike([*undone[:number]]) for number in (1, 2, 3)] == [[each] for each in undone]
    again = msgspec.structs.replace(undone[0], round=4)
    assert alike([*undone, again]) == [undone[0], again]
    reasons = judge_case([*undone, again], Machine(Quiet(1e-3, 1e-3))).reasons
    (apart,) = [each for each in reasons if each.observation is Observation.ROUNDS_APART]
    assert "clock_limits" in apart.text


def test_rounds_in_another_power_mode_are_not_pooled(nano, tmp_path, monkeypatch):
    monkeypatch.setattr(CudaSession, "settings", lambda self: {"cuda": "12.6"})
    rounds = []
    for number, mode in enumerate(("0002", "0003"), 1):
        (tmp_path / MODE).write_text(f"pmode:{mode}")
        session = session_of(tmp_path)
        session.sense()
        rounds.append(timed("resnet50", round_number=number, settings=session.settings()))
    assert [each.settings["power_mode"] for each in rounds] == ["MAXN_SUPER", "7W"]
    assert alike(rounds) == rounds[1:]


def test_the_state_has_whether_clocks_are_locked(tmp_path):
    assert Orin(write_tree(tmp_path / "nano", NANO.files)).state()["jetson_clocks"] == "off"
    assert Orin(write_tree(tmp_path / "agx", AGX.files)).state()["jetson_clocks"] == "on"


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

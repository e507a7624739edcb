"""When calls come, and what a sample counts: with a scripted clock, and with small networks."""

import msgspec
import pytest
import torch
from support.networks import Residual, measured, module, timed
from support.runs import PLAN, Listener, measure
from torch import nn

from bench.devices.fake import COLD_S, FIRST_CALL, scripted_latency
from bench.devices.kernels import Kernels
from bench.harness.plan import PRESETS, is_slow
from bench.harness.protocol.messages import Raised
from bench.harness.worker import cold, scenarios
from bench.harness.worker.scenarios import SIMULATED_S, Step
from bench.records import Case, Measurement, of_cases
from bench.records.scenario import of


class Clock:
    """A clock that stands still between calls; each call takes the next of these seconds."""

    def __init__(self, *calls_s):
        self.at_s = 100.0
        self.rested = []
        self._calls_s = iter(calls_s)

    def now(self):
        return self.at_s

    def rest(self, seconds):
        assert seconds > 0
        self.rested.append(round(seconds, 9))
        self.at_s += seconds

    def call(self):
        self.at_s += next(self._calls_s)
        return self.at_s


def paced(*calls_s, period_s=1.0):
    clock = Clock(*calls_s)
    block = scenarios.paced_block(clock.call, clock.now, len(calls_s), clock.rest, period_s)
    return clock, block


def test_a_call_after_a_rest_counts_without_the_rest():
    clock = Clock(0.5, 0.25)
    block = scenarios.rested_block(clock.call, clock.now, 2, clock.rest, 10.0)
    assert block.samples_s == [0.5, 0.25]
    assert clock.rested == [10.0, 10.0]
    assert block.paused_s == 20.0


def test_a_network_that_keeps_up_is_called_at_each_tick():
    clock, block = paced(0.25, 0.5, 0.25)
    assert block.samples_s == pytest.approx([0.25, 0.5, 0.25])
    assert clock.rested == [1.0, 0.75, 0.5]
    assert (block.late, block.dropped) == (0, 0)
    assert block.paused_s == pytest.approx(2.25)


def test_an_image_that_comes_while_the_network_is_busy_waits_and_its_latency_counts_that():
    _, block = paced(1.5, 0.25, 0.25)  # the second image is due at 1 s, and taken at 1.5 s
    assert block.samples_s == pytest.approx([1.5, 0.75, 0.25])
    assert (block.late, block.dropped) == (1, 0)


def test_a_newer_image_takes_the_place_of_one_that_waits():
    _, block = paced(3.25, 0.25)  # images are due at 1, 2 and 3 s meanwhile: the newest is taken
    assert block.samples_s == pytest.approx([3.25, 0.5])
    assert (block.late, block.dropped) == (1, 2)


def test_a_network_that_never_keeps_up_drops_images_and_its_latency_stays_bounded():
    _, block = paced(*[2.5] * 20)
    assert max(block.samples_s) < 2.5 + 1.0
    assert block.late == 20
    assert block.dropped == pytest.approx(20 * 1.5, abs=1)


def test_images_that_come_during_the_last_call_are_dropped_but_for_the_newest():
    _, block = paced(3.0, period_s=1 / 15)
    assert (len(block.samples_s), block.late, block.dropped) == (1, 1, 44)


def test_the_parts_of_a_pipeline_add_up():
    clock = Clock(0.5, 0.25, 0.5, 0.75)
    steps = [Step("first", clock.call), Step("second", clock.call)]
    block = scenarios.pipeline_block(steps, clock.now, 2)
    assert block.samples_s == [0.75, 1.25]
    assert block.parts_s == {"first": [0.5, 0.5], "second": [0.25, 0.75]}


def test_a_sleep_ends_on_time():
    began = scenarios.clocks.monotonic()
    scenarios.sleep_exactly(0.02)
    assert scenarios.clocks.monotonic() - began >= 0.02


# --- the plan ---


@pytest.mark.parametrize(
    ("name", "timed_s", "block_s"),
    [("tight", 1.0, 0.25), ("rest-1s", 1.0, 0.25), ("pace-15hz", 10.0, 2.5), ("cold", 0.0, 0.0)],
)
def test_the_plan_of_a_scenario(name, timed_s, block_s):
    plan = PRESETS["quick"].within(of(name))
    assert (plan.timed_s, plan.block_s) == (timed_s, block_s)


def test_a_sustained_round_has_ten_blocks_in_its_time():
    plan = PRESETS["quick"].within(of("sustained-10m"))
    assert (plan.timed_s, plan.block_s) == (600.0, 60.0)


# --- the fake device ---


def rounds_of(folder, scenario, **changes):
    case = Case("resnet50", "plain", device="fake", scenario=scenario, **changes)
    store, failures = measure(folder, [case], PLAN, Listener())
    assert failures == []
    found = [each for each in of_cases(store.records) if isinstance(each, Measurement)]
    assert len(found) == PLAN.rounds
    return case, found


def test_a_start_is_one_sample_a_process_with_its_parts(tmp_path):
    case, found = rounds_of(tmp_path, "cold")
    for each in found:
        assert len(each.samples_s) == 1
        assert list(each.parts_s) == [*COLD_S, "first call"]
        assert sum(part[0] for part in each.parts_s.values()) == pytest.approx(each.samples_s[0])
        expected = sum(COLD_S.values()) + FIRST_CALL * scripted_latency(case)
        assert each.samples_s[0] == pytest.approx(expected, rel=0.2)
    assert found[0].samples_s != found[1].samples_s


def test_the_kernels_of_a_process_that_has_just_started_are_read_once_they_are_warm():
    clock = [0.0]
    calls = {"compute": 0, "memory": 0}

    def kernel(name, seconds):
        def call():
            calls[name] += 1
            clock[0] += seconds * (3 if calls[name] <= 30 else 1)

        return call

    kernels = Kernels(kernel("compute", 1e-3), kernel("memory", 2e-3))
    assert cold.settled(kernels, lambda: clock[0]) == pytest.approx((1e-3, 2e-3))


def test_a_pipeline_has_the_parts_of_its_samples(tmp_path):
    case, found = rounds_of(tmp_path, "pipeline")
    for each in found:
        assert list(each.parts_s) == ["preprocessing", "copy in", "network", "copy out"]
        assert each.parts_s["preprocessing"] == pytest.approx(
            [SIMULATED_S["preprocessing"]] * len(each.samples_s)
        )
        assert min(each.samples_s) > scripted_latency(case) * 0.8


def test_a_rate_that_the_network_holds_has_no_late_answer(tmp_path):
    _, found = rounds_of(tmp_path, "pace-15hz")
    for each in found:
        assert (each.late, each.dropped) == (0, 0)
        assert len(each.samples_s) == 75  # ten times as long as a tight round, at 15 Hz
        assert max(each.conditions.idle_s) == 0.0


def test_a_rate_that_is_too_high_drops_images(tmp_path):
    _, found = rounds_of(tmp_path, "pace-1000hz")
    for each in found:
        assert each.late == len(each.samples_s)
        assert each.dropped > each.late


def test_a_rest_is_not_in_the_sample_and_a_round_has_the_fewest_samples(tmp_path):
    case, found = rounds_of(tmp_path, "rest-1s")
    for each in found:
        assert len(each.samples_s) == PLAN.min_samples
        assert max(each.samples_s) < 2 * scripted_latency(case)


def test_a_sustained_round_has_a_level_for_each_of_its_blocks(tmp_path):
    _, found = rounds_of(tmp_path, "sustained-5s")
    for each in found:
        assert len(each.block_sizes) in (10, 11)
        assert len(each.block_levels) == len(each.block_sizes)
        counters = [level.energy_j for level in each.block_levels]
        assert counters == sorted(counters)


def test_sustained_cases_never_wait_for_each_other(tmp_path):
    names = ("resnet50", "swin_t")
    cases = [Case(n, "plain", device="fake", scenario="sustained-5s", batch=2) for n in names]
    store, failures = measure(tmp_path, cases, PLAN, Listener())
    assert failures == []
    sittings = [{r.sitting for r in store.records if getattr(r, "case", None) == c} for c in cases]
    assert not sittings[0] & sittings[1]


def test_a_slow_start_is_one_sample_and_a_slow_network_is_sustained_all_the_same():
    for name in ("cold", "sustained-600s", "rest-1s", "pace-15hz"):
        assert not is_slow(PRESETS["paper"].within(of(name)), 128, 10.0)
    assert is_slow(PRESETS["paper"].within(of("pipeline")), 128, 10.0)


def test_scenarios_take_turns_with_the_tight_loop_but_a_start_does_not(tmp_path):
    names = ("tight", "pace-15hz", "cold", "sustained-5s")
    cases = [Case("resnet50", "plain", device="fake", scenario=each) for each in names]
    store, failures = measure(tmp_path, cases, PLAN, Listener())
    assert failures == []
    sittings = {
        name: {r.sitting for r in of_cases(store.records) if r.case.scenario == name}
        for name in names
    }
    assert sittings["tight"] == sittings["pace-15hz"]
    assert not sittings["tight"] & sittings["cold"]
    assert not sittings["sustained-5s"] & (sittings["tight"] | sittings["cold"])


def test_a_network_that_fails_at_its_start_is_a_failure(tmp_path):
    case = Case("fault/nan", "plain", device="fake", scenario="cold")
    _, failures = measure(tmp_path, [case], PLAN, Listener())
    assert [failure.error for failure in failures] == ["ArithmeticError"]


# --- small networks ---


def test_a_real_pipeline_has_all_parts_and_the_network_answers_as_before():
    made = measured(Residual, scenario="pipeline")
    assert list(made.parts_s) == ["preprocessing", "copy in", "network", "copy out"]
    for part in made.parts_s.values():
        assert len(part) == len(made.samples_s)
    assert min(made.parts_s["preprocessing"]) > 1e-4  # 500 x 375 pixels are resized
    totals = [sum(parts) for parts in zip(*made.parts_s.values(), strict=True)]
    assert made.samples_s == pytest.approx(totals)


def test_a_network_without_images_has_no_pipeline():
    class Ranks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 10)

        def forward(self, x):
            return self.layer(x.mean((1, 3))[:, :8])

    made = timed(Ranks, scenario="pipeline", input="1x8x32")
    assert isinstance(made, Raised)
    assert made.message == (
        "the pipeline turns images in RGB into one input (N, 3, H, W), and the input of this one "
        "is 1x1x8x32"
    )


def test_a_network_that_stores_its_answer_is_found_out_in_a_pipeline_too():
    def forward(self, x):
        self.calls += 1
        if self.calls <= 5:
            self.kept = self.layer(x.flatten(1)[:, :8])
        return self.kept

    make = lambda: module(forward, layer=nn.Linear(8, 10), calls=torch.zeros(()))  # noqa: E731
    made = timed(make, scenario="pipeline")
    assert isinstance(made, Raised)
    assert (made.stage, made.error) == ("check", "StoredAnswerError")


def test_idle_seconds_of_a_rest_are_no_stall():
    made = measured(Residual, scenario="rest-0.3s")
    assert max(made.conditions.idle_s, default=0.0) < 0.2
    assert max(made.samples_s) < 0.3


def test_the_network_of_a_rest_computes_as_always():
    torch.manual_seed(0)
    made = measured(Residual, scenario="pace-50hz")
    assert made.late is not None
    assert made.check is not None
    assert msgspec.json.decode(msgspec.json.encode(made), type=Measurement) == made

import msgspec
import numpy as np
import pytest
from support.records import CASE, measurement

from bench.analysis import stats
from bench.harness.plan import PRESETS, Plan
from bench.harness.stopping_rule import is_done, stopped_by
from bench.harness.suite import Suite, plan_for
from bench.records import Case, Stages

PLAN = Plan(
    preset="quick",
    rounds=3,
    timed_s=1,
    block_s=0.25,
    warmup_s=0.1,
    budget_s=10,
    slow_budget_s=50,
    least_rounds=1,
)


def spent(seconds: float, samples_s: tuple[float, ...] = (0.01,), case: Case = CASE):
    return measurement(case, samples_s=list(samples_s), stages_s=Stages(timed=seconds), share_s=0.0)


def test_a_case_continues_until_the_planned_number_of_rounds():
    assert stopped_by(PLAN, [spent(1)]) == "round"
    assert stopped_by(PLAN, [spent(1), spent(1)]) == "round"
    assert stopped_by(PLAN, [spent(1), spent(1), spent(1)]) == "rounds"


@pytest.mark.parametrize(("each", "expected"), [(4.9, "round"), (5.1, "budget")])
def test_no_round_begins_that_would_exceed_the_budget(each, expected):
    assert stopped_by(PLAN, [spent(each)]) == expected


def test_the_next_round_is_expected_to_take_as_long_as_the_longest():
    plan = msgspec.structs.replace(PLAN, rounds=5)
    assert stopped_by(plan, [spent(2), spent(4.1)]) == "budget"  # 6.1 s and 4.1 s more, of 10 s
    assert stopped_by(plan, [spent(4.1), spent(2)]) == "budget"
    assert stopped_by(plan, [spent(2), spent(3.9)]) == "round"


def test_the_share_of_the_template_counts_towards_the_budget():
    record = msgspec.structs.replace(spent(4.9), share_s=0.2)
    assert stopped_by(PLAN, [record]) == "budget"


@pytest.mark.parametrize("case", [CASE, Case("resnet50", "plain", batch=128)])
def test_no_budget_ends_a_case_before_its_third_process(case):
    plan = msgspec.structs.replace(PLAN, least_rounds=3, rounds=5)
    each = spent(1000, (9.0,), case)
    assert [stopped_by(plan, [each] * count) for count in (1, 2, 3)] == [
        *("round", "round"),
        "budget",
    ]
    few = msgspec.structs.replace(plan, rounds=2)  # of --rounds
    assert stopped_by(few, [each] * 2) == "rounds"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_three_processes_of_a_slow_batch_and_a_budget_of_the_user_holds(preset):
    assert PRESETS[preset].least_rounds == 3
    assert plan_for(preset, Suite(), None, 30.0).least_rounds == 1


def test_a_slow_case_has_the_slow_budget():
    big = Case("resnet50", "plain", batch=128)
    assert stopped_by(PLAN, [spent(20, (9.0, 10.0), big)]) == "round"
    assert stopped_by(PLAN, [spent(26, (9.0, 10.0), big)]) == "budget"
    assert stopped_by(PLAN, [spent(20, (9.0, 10.0))]) == "budget"


def test_without_a_budget_the_time_is_unlimited():
    plan = msgspec.structs.replace(PLAN, budget_s=None)
    assert stopped_by(plan, [spent(1000)]) == "round"


def of_latency(*seconds: float):
    """One round per value; all samples of a round have that value."""
    return [measurement(CASE, i, samples_s=[s] * 3) for i, s in enumerate(seconds, 1)]


PRECISE = msgspec.structs.replace(PLAN, rounds=20, budget_s=None)


def test_precision_stops_a_case_after_two_narrow_intervals_in_a_row():
    equal = of_latency(*[0.1] * 6)
    assert stopped_by(PRECISE, equal[:5]) == "round"
    assert stopped_by(PRECISE, equal) == "precision"
    # of five, t(4) s / sqrt(5) / mean: 2.776 * 0.00158 / 2.236 / 0.102 = 1.9 %
    narrow = (0.100, 0.101, 0.102, 0.103, 0.104)
    assert stopped_by(PRECISE, of_latency(*narrow, 0.102)) == "precision"
    wide_before = (0.098, 0.100, 0.102, 0.104, 0.106)
    assert stopped_by(PRECISE, of_latency(*wide_before, 0.102)) == "round"
    # of 5: 2.776 * 0.00177 / 2.236 / 0.102 = 2.2 %; of 6: 2.571 * 0.00158 / 2.449 / 0.102 = 1.6 %
    narrow_once = (0.100, 0.1005, 0.102, 0.1035, 0.104)
    assert PRECISE.precision == 0.02
    assert stopped_by(PRECISE, of_latency(*narrow_once, 0.102)) == "round"
    assert stopped_by(PRECISE, of_latency(*narrow_once, 0.102, 0.102)) == "precision"


def test_intervals_keep_their_coverage_when_precision_stops_a_case():
    """The stopping rule of `paper`, applied after each round of simulated runs."""
    draw = np.random.default_rng(0)
    plan = msgspec.structs.replace(PRESETS["paper"], budget_s=None)
    held = 0
    for _ in range(600):
        records = of_latency(*draw.normal(0.1, 0.0025, plan.rounds))
        ended = next(n for n in range(1, 13) if stopped_by(plan, records[:n]) != "round")
        found = stats.latency([record.samples_s for record in records[:ended]])
        held += found.low <= 0.1 <= found.high
    assert 0.92 <= held / 600 <= 0.98


def test_noise_stops_a_case_whose_interval_no_longer_narrows():
    calm = (0.096, 0.104, 0.100, 0.104, 0.096, 0.100)
    assert stopped_by(PRECISE, of_latency(*calm, 0.150, 0.160, 0.170)) == "noise"
    assert stopped_by(PRECISE, of_latency(*calm, 0.150, 0.160)) == "round"
    # Wider than three rounds before, and narrower than two rounds before.
    assert stopped_by(PRECISE, of_latency(*calm, 0.150, 0.100, 0.100)) == "noise"


def test_precision_does_not_stop_a_fixed_number_of_rounds():
    fixed = msgspec.structs.replace(PRECISE, precision=None)
    assert stopped_by(fixed, of_latency(*[0.1] * 19)) == "round"
    assert stopped_by(fixed, of_latency(*[0.1] * 20)) == "rounds"


def test_a_case_is_done_when_the_plan_asks_for_no_more_rounds():
    equal = of_latency(*[0.1] * 6)
    assert is_done(PRECISE, equal)
    assert not is_done(PRECISE, equal[:5])
    assert not is_done(PRECISE, [])
    assert not is_done(msgspec.structs.replace(PRECISE, precision=None), equal)


def test_a_larger_budget_continues_a_case_that_a_smaller_one_stopped():
    ended = [msgspec.structs.replace(spent(6), stopped_by="budget")]
    assert is_done(PLAN, ended)
    assert not is_done(msgspec.structs.replace(PLAN, budget_s=100), ended)


def test_a_plan_with_more_rounds_continues_a_finished_case():
    ended = [measurement(CASE, stopped_by="rounds")]
    assert not is_done(PLAN, ended)
    assert is_done(msgspec.structs.replace(PLAN, rounds=1), ended)


def test_default_keeps_a_case_at_batch_1_within_40_seconds():
    assert PRESETS["default"].budget_s < 40  # the rest is for what no stage counts


def test_presets_take_five_samples_or_fewer_where_an_iteration_is_slow():
    for plan in PRESETS.values():
        assert plan.min_samples >= 5
    assert [plan.slow_samples for plan in PRESETS.values()] == [1, 1, 3]

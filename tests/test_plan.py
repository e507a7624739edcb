import msgspec
import pytest
from conftest import measurement

from bench.plan import PRESETS, Plan, is_done, stopped_by
from bench.records import Case, Stages

CASE = Case("resnet50", "plain")
PLAN = Plan(
    preset="quick",
    rounds=3,
    timed_s=1,
    block_s=0.25,
    warmup_s=0.1,
    budget_s=10,
    slow_budget_s=50,
)


def spent(seconds: float, samples_s: tuple[float, ...] = (0.01,), case: Case = CASE):
    return measurement(case, samples_s=list(samples_s), stages_s=Stages(timed=seconds), share_s=0.0)


def test_goes_on_until_the_planned_number_of_rounds():
    assert stopped_by(PLAN, [spent(1)]) == "round"
    assert stopped_by(PLAN, [spent(1), spent(1)]) == "round"
    assert stopped_by(PLAN, [spent(1), spent(1), spent(1)]) == "rounds"


@pytest.mark.parametrize(("each", "expected"), [(4.9, "round"), (5.1, "budget")])
def test_begins_no_round_that_would_exceed_the_budget(each, expected):
    assert stopped_by(PLAN, [spent(each)]) == expected


def test_the_share_of_the_template_counts_towards_the_budget():
    record = msgspec.structs.replace(spent(4.9), share_s=0.2)
    assert stopped_by(PLAN, [record]) == "budget"


def test_slow_iterations_of_a_large_batch_have_a_budget_of_their_own():
    big = Case("resnet50", "plain", batch=128)
    assert stopped_by(PLAN, [spent(20, (9.0, 10.0), big)]) == "round"
    assert stopped_by(PLAN, [spent(26, (9.0, 10.0), big)]) == "budget"
    assert stopped_by(PLAN, [spent(20, (9.0, 10.0))]) == "budget"


def test_no_budget_is_no_bound():
    plan = msgspec.structs.replace(PLAN, budget_s=None)
    assert stopped_by(plan, [spent(1000)]) == "round"


@pytest.mark.parametrize("reason", ["precision", "noise", "budget", "rounds"])
def test_a_case_that_was_ended_is_done(reason):
    ended = measurement(CASE, stopped_by=reason)
    assert is_done(PLAN, [ended] * PLAN.rounds)
    assert not is_done(PLAN, [measurement(CASE)])
    assert not is_done(PLAN, [])


def test_a_case_ended_by_fewer_rounds_than_asked_for_goes_on():
    ended = [measurement(CASE, stopped_by="rounds")]
    assert not is_done(PLAN, ended)
    assert is_done(msgspec.structs.replace(PLAN, rounds=1), ended)


def test_default_keeps_a_case_at_batch_1_within_40_seconds():
    assert PRESETS["default"].budget_s < 40  # the rest is for what no stage counts


def test_presets_promise_five_samples_and_three_where_an_iteration_is_slow():
    for plan in PRESETS.values():
        assert plan.min_samples >= 5
        assert plan.slow_samples >= 3

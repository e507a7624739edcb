"""Answers: an order, a tie within the margin, or open, with the reason where rounds do not help."""

import math

import pytest
from support.records import CASE, measurement
from support.settled import took_turns

from bench.analysis.ratio import OF_KINDS, compare
from bench.analysis.settle import Obstacle, Question, answer
from bench.records import Case, Conditions

OTHER = Case("swin_t", "plain")
QUESTION = Question(CASE, OTHER, ("a test",))


def steady(count):
    """Rounds of a base at 10 ms that does not vary."""
    numbers = range(1, count + 1)
    return [measurement(CASE, n, samples_s=[0.01] * 3, sitting=n) for n in numbers]


def answered(ms, count=6, margin=0.02, **options):
    """The answer for a candidate at `ms`, next to a base at 10 ms that does not vary."""
    return answer(QUESTION, steady(count), took_turns(OTHER, ms, count), margin, **options)


@pytest.mark.parametrize(
    ("ms", "margin", "finding"),
    [(12, 0.02, "SLOWER"), (8, 0.02, "FASTER"), (10, 0.05, "SAME"), (10.2, 0.02, "UNDECIDED")],
)
def test_the_whole_interval_decides(ms, margin, finding):
    found = answered(ms, margin=margin)
    assert found.finding == finding
    assert found.is_open == found.is_measurable == (finding == "UNDECIDED")


def test_the_interval_is_wider_than_that_of_a_comparison():
    found = answered(10.4)
    compared = compare(steady(6), took_turns(OTHER, 10.4, 6))
    assert found.ratio.point == pytest.approx(compared.ratio.point)
    assert found.ratio.high > compared.ratio.high


def test_rounds_of_different_sittings_answer_nothing():
    base = took_turns(CASE, 10)
    candidate = took_turns(OTHER, 30, run_id="another run")
    found = answer(QUESTION, base, candidate)
    assert (found.finding, found.rounds, found.ratio) == ("UNDECIDED", 0, None)
    assert found.belief.mean == pytest.approx(math.log(3))
    assert found.more_rounds == 3  # none before the interval has an end


def test_a_reason_leaves_a_question_open_whatever_the_rounds_say():
    found = answered(30, obstacle=Obstacle("swin_t failed at timed"))
    assert (found.is_open, found.is_measurable, found.more_rounds) == (True, False, None)
    assert not answered(30).is_open


def test_without_rounds_a_question_is_open():
    assert answer(QUESTION, [], [], obstacle=Obstacle("it failed")).is_open


def test_the_rounds_that_decide_are_fewer_for_a_larger_difference():
    near, far = answered(10.5, 3), answered(11.0, 3)
    assert near.is_open
    assert far.is_open
    assert near.more_rounds > far.more_rounds


def test_a_verdict_holds_an_answer_back_for_some_rounds():
    found = answered(30, obstacle=Obstacle(held=4, doubt="the verdict is INVALID"))
    assert (found.is_open, found.is_measurable, found.more_rounds) == (True, True, 4)
    assert found.rate == pytest.approx(1 / 4, rel=0.01)
    assert answered(10.2).rate < found.rate


def of_kinds(slow_ms, count=12, quick_ms=12, slow=lambda number: number % 2):
    """The answer where the candidate's processes take `quick_ms`, or have faults and `slow_ms`."""
    base = steady(count)
    candidate = took_turns(OTHER, quick_ms, count, conditions=Conditions(page_faults=0))
    faulty = took_turns(OTHER, slow_ms, count, conditions=Conditions(page_faults=90_000))
    mixed = [faulty[n] if slow(n) else candidate[n] for n in range(count)]
    return answer(QUESTION, base, mixed)


@pytest.mark.parametrize("count", [12, 40])
def test_kinds_of_processes_with_different_orders_are_open_at_once(count):
    found = of_kinds(8, count)
    assert found.ratio.low < 0.98 < 1.02 < found.ratio.high
    assert (found.is_open, found.is_measurable, found.why) == (True, False, OF_KINDS)


@pytest.mark.parametrize("slow_ms", [10.6, 14])
def test_an_order_that_no_kind_of_processes_contradicts_is_an_answer(slow_ms):
    found = of_kinds(slow_ms)
    assert (found.finding, found.why) == ("SLOWER", "")


def test_a_rare_kind_does_not_keep_a_clear_order_open():
    """Its interval alone is wide, however many rounds there are."""
    found = of_kinds(10.1, count=27, quick_ms=12.5, slow=lambda number: number in (4, 17))
    assert (found.finding, found.why) == ("SLOWER", "")


def test_a_kind_with_few_rounds_waits_for_more():
    found = of_kinds(10.35, count=6, quick_ms=10.35, slow=lambda number: number == 3)
    assert (found.is_open, found.is_measurable, found.why, found.held) == (True, True, "", 6)


def test_an_answer_never_contradicts_a_comparison():
    """Rounds are alike by chance; the blocks within them are not."""
    alternating = [0.0095, 0.0115, 0.0097, 0.0118]
    base, candidate = (
        [
            measurement(case, number, samples_s=samples, sitting=number,
                        block_sizes=[1] * 4, block_starts_s=[0.0, 1.0, 2.0, 3.0])
            for number in range(1, 5)
        ]
        for case, samples in ((CASE, [0.01] * 4), (OTHER, alternating))
    )  # fmt: skip
    found, compared = answer(QUESTION, base, candidate), compare(base, candidate)
    assert compared.finding == found.finding == "UNDECIDED"
    assert found.ratio.low <= compared.ratio.low < compared.ratio.high <= found.ratio.high

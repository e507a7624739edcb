"""The next round: the cases that are expected to answer most per second, with their opponents."""

import msgspec
import pytest
from support.settled import took_turns

from bench.analysis.settle import Board, Question, answer, choose, remaining_s
from bench.records import Case

A, B, C, D = (Case(model, "plain") for model in ("resnet50", "swin_t", "convnext_t", "deit_s"))
MS = {A: 10.0, B: 10.6, C: 10.9, D: 30.0}


def board(*pairs, ms=MS, seconds=None, start_s=1.0, count=3):
    """The board of these pairs, each with `count` rounds on record."""
    answers = [
        answer(Question(*pair), *(took_turns(case, ms[case], count) for case in pair))
        for pair in pairs
    ]
    known = {case: 2.0 for pair in pairs for case in pair}
    return Board(answers, {**known, **(seconds or {})}, start_s)


def noisy(board):
    """The same board, where all rounds so far are as noisy as usual."""
    answers = [
        msgspec.structs.replace(each, finding="UNDECIDED", belief=each.belief._replace(spread=0.05))
        for each in board.answers
    ]
    return board._replace(answers=answers)


def test_both_cases_of_a_question_are_measured_in_one_round():
    chosen = choose(noisy(board((A, B))), 100)
    assert (chosen.cases, chosen.questions, chosen.seconds) == ([A, B], [Question(A, B)], 5.0)


def test_an_answered_question_drops_out():
    known = board((A, D), count=5)
    assert not known.open
    assert choose(known, 100) is None


def test_the_question_with_more_answers_a_second_comes_first():
    dear = {C: 2000.0}
    chosen = choose(noisy(board((A, D), (B, C), seconds=dear)), 1e6)
    assert chosen.cases == [A, D]
    cheap = {A: 2000.0}
    assert choose(noisy(board((A, D), (B, C), seconds=cheap)), 1e6).cases == [B, C]


def test_questions_that_share_the_start_or_a_case_join_the_round():
    chosen = choose(noisy(board((A, D), (B, D), start_s=30.0)), 100)
    assert set(chosen.cases) == {A, B, D}
    assert chosen.questions == [Question(A, D), Question(B, D)]


def test_cases_of_two_groups_never_share_a_round():
    large = msgspec.structs.replace(C, batch=128)
    other = msgspec.structs.replace(D, batch=128)
    ms = {**MS, large: 10.0, other: 30.0}
    chosen = choose(noisy(board((A, D), (large, other), ms=ms, start_s=1000.0)), 1e6)
    assert chosen.cases in ([A, D], [large, other])


def test_a_round_that_does_not_fit_into_the_time_is_not_chosen():
    known = noisy(board((A, D), (B, C), seconds={A: 50.0}))
    assert choose(known, 20).cases == [B, C]
    assert choose(known, 4.9) is None


def test_rounds_that_took_no_time_can_be_chosen():
    """Nothing refuses a record whose stages and share are 0."""
    chosen = choose(noisy(board((A, B), seconds={A: 0.0, B: 0.0}, start_s=0.0)), 100)
    assert chosen.cases == [A, B]


def test_a_skipped_question_is_not_chosen():
    known = noisy(board((A, D), (B, C)))
    assert Question(A, D) not in choose(known, 100, [Question(A, D)]).questions


def test_the_rest_costs_the_rounds_of_each_case_and_the_starts_of_the_group():
    known = noisy(board((A, D), (B, D)))
    counts = [each.more_rounds for each in known.answers]
    each = {A: counts[0], B: counts[1], D: max(counts)}
    expected = sum(2.0 * count for count in each.values()) + 1.0 * max(counts)
    assert remaining_s(known, known.answers) == pytest.approx(expected)

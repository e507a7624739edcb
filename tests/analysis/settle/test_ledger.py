"""The ledger: answers from records, which rounds that are added change."""

import pytest
from support.records import ENVIRONMENT, OBSERVED, TAKEN, failure
from support.settled import took_turns

from bench.analysis.recorded import Recorded
from bench.analysis.settle import Question, answer
from bench.analysis.settle.ledger import Ledger
from bench.records import Case, Measurement, Stages

A, B, C = (Case(model, "plain") for model in ("resnet50", "swin_t", "convnext_t"))
QUESTIONS = [Question(A, B), Question(A, C)]


def ledger(*records, margin=0.02, **options):
    return Ledger(Recorded(ENVIRONMENT, list(records)), margin, **options)


def test_rounds_that_are_added_count_at_once():
    rounds = {case: took_turns(case, ms, 6) for case, ms in ((A, 10), (B, 10.5), (C, 10.6))}
    ours = ledger(*(each for case in rounds for each in rounds[case][:2]))
    assert [each.rounds for each in ours.board(QUESTIONS).answers] == [2, 2]
    ours.add(each for case in (A, B) for each in rounds[case][2:])
    found = ours.board(QUESTIONS).answers
    assert [each.rounds for each in found] == [6, 2]
    assert found[0] == answer(QUESTIONS[0], rounds[A], rounds[B])


def test_seconds_are_those_of_the_records_without_the_observation():
    records = [*took_turns(A, 10), *took_turns(B, 11, stages_s=Stages(build=3.0, observe=9.0))]
    board = ledger(*records).board([Question(A, B)])
    assert board.case_s == {A: 2.0, B: 3.0}
    assert board.start_s == pytest.approx(0.5 * len(records))  # share_s of each is 0.5
    assert board.round_s([A, B]) == pytest.approx(board.start_s + 5.0)


def test_a_failed_case_leaves_its_questions_open_until_it_is_measured_again():
    ours = ledger(*took_turns(A, 10, 6), *took_turns(B, 30, 6))
    assert not ours.board(QUESTIONS[:1]).answers[0].is_open
    ours.add([failure(B, stage="timed", round=7)])
    found = ours.board(QUESTIONS[:1]).answers[0]
    assert (found.is_open, found.is_measurable) == (True, False)
    assert found.why == "swin_t failed at timed"


def test_an_invalid_case_decides_nothing_until_good_rounds_outnumber_the_others():
    spoilt = {**OBSERVED, "conditions": TAKEN}
    ours = ledger(*took_turns(A, 10, 6), *took_turns(B, 30, 3, **spoilt))
    found = ours.board(QUESTIONS[:1]).answers[0]
    assert (found.is_open, found.is_measurable, found.held) == (True, True, 4)
    assert found.doubt == "the verdict on swin_t is INVALID"
    good = took_turns(B, 30, 7, **OBSERVED)
    ours.add(good[3:5])
    assert ours.board(QUESTIONS[:1]).answers[0].held == 2
    ours.add(good[5:])
    found = ours.board(QUESTIONS[:1]).answers[0]
    assert (found.finding, found.held, found.doubt) == ("SLOWER", 0, "")


def test_a_model_that_is_not_there_any_more_is_the_reason_only_of_open_questions():
    records = [*took_turns(A, 10, 6), *took_turns(B, 30, 6), *took_turns(C, 10, 2)]
    ours = ledger(*records, unmeasurable={"resnet50": "resnet50 is gone"})
    decided, open_ = ours.board(QUESTIONS).answers
    assert (decided.finding, decided.why) == ("SLOWER", "")
    assert (open_.is_open, open_.is_measurable, open_.why) == (True, False, "resnet50 is gone")


def test_the_records_stay_those_of_the_caller():
    ours = ledger(*took_turns(A, 10), *took_turns(B, 11))
    ours.add(took_turns(A, 10, 4)[3:])
    assert all(isinstance(each, Measurement) for each in ours.recorded.records)
    assert len(ours.recorded.records) == 7

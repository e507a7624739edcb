"""The questions of the final, and the outcome that its answers give."""

import msgspec
import pytest
from support.records import ENVIRONMENT
from support.settled import took_turns
from support.tunings import SPACE

from bench.analysis.recorded import Recorded
from bench.analysis.settle import Board, answer
from bench.analysis.settle.ledger import Ledger
from bench.records import Failure
from bench.tune import final
from bench.tune.tuning import Tuning

TRAIN, RREP = SPACE.forms[:2]
FAST, OTHER = (msgspec.structs.replace(RREP, backend=each) for each in ("openvino", "onnxruntime"))


def tuning(*finalists, baselines=(RREP,)):
    return Tuning(SPACE, "env", baselines=baselines, finalists=finalists)


def outcome_of(of, **ms):
    """The outcome where the cases took turns at these milliseconds, with little noise."""
    cases = {"train": TRAIN, "rrep": RREP, "fast": FAST, "other": OTHER}
    rounds = {cases[name]: took_turns(cases[name], each, 12) for name, each in ms.items()}
    answers = [
        answer(each, rounds[each.base], rounds[each.candidate]) for each in final.questions(of)
    ]
    return final.outcome(of, Board(answers, {}, 0.0))


def test_every_finalist_meets_every_baseline_and_the_other_finalist():
    found = final.questions(tuning(FAST, OTHER, baselines=(RREP, TRAIN)))
    assert {each.cases for each in found} == {
        frozenset(pair)
        for pair in ((RREP, FAST), (RREP, OTHER), (TRAIN, FAST), (TRAIN, OTHER), (FAST, OTHER))
    }
    assert final.cases(tuning(FAST, RREP)) == [RREP, FAST]


def test_no_question_is_asked_twice_where_a_baseline_is_a_finalist():
    assert len(final.questions(tuning(FAST, RREP))) == 1
    assert len(final.questions(tuning(RREP, FAST))) == 1


def test_the_faster_candidate_wins():
    found = outcome_of(tuning(FAST, OTHER), rrep=15, fast=10, other=11)
    assert (found.winner, found.baseline, found.finding) == (FAST, RREP, "FASTER")
    assert found.ratio.point == pytest.approx(10 / 15)
    assert found.rounds == 12


def test_the_second_finalist_wins_if_the_final_proves_it_faster():
    found = outcome_of(tuning(OTHER, FAST), rrep=15, fast=10, other=11)
    assert found.winner == FAST


def test_the_gain_is_that_over_the_faster_baseline():
    both = tuning(FAST, OTHER, baselines=(RREP, TRAIN))
    found = outcome_of(both, rrep=15, train=14, fast=10, other=11)
    assert found.baseline == TRAIN
    assert found.ratio.point == pytest.approx(10 / 14)


def test_a_tie_and_a_slower_candidate_leave_the_baseline():
    tied = outcome_of(tuning(FAST, OTHER), rrep=10, fast=10, other=12)
    assert (tied.finding, tied.winner, tied.candidate) == ("SAME", RREP, FAST)
    slower = outcome_of(tuning(FAST, OTHER), rrep=10, fast=12, other=13)
    assert (slower.finding, slower.winner) == ("SLOWER", RREP)


def test_a_baseline_in_the_final_is_compared_with_the_other_finalist():
    found = outcome_of(tuning(RREP, FAST), rrep=10, fast=13)
    assert (found.finding, found.winner, found.candidate) == ("SLOWER", RREP, FAST)
    assert found.ratio.point == pytest.approx(1.3)
    turned = outcome_of(tuning(FAST, RREP), rrep=13, fast=10)
    assert (turned.finding, turned.winner) == ("FASTER", FAST)


@pytest.mark.parametrize("finalists", [(RREP, TRAIN), (TRAIN, RREP)])
@pytest.mark.parametrize("baselines", [(RREP, TRAIN), (TRAIN,)])
def test_a_form_in_eager_mode_is_never_a_gain(finalists, baselines):
    found = outcome_of(tuning(*finalists, baselines=baselines), rrep=10, train=13)
    assert (found.baseline, found.candidate, found.finding) == (RREP, TRAIN, "SLOWER")
    assert found.winner == RREP


@pytest.mark.parametrize("broken", [OTHER, TRAIN])
@pytest.mark.parametrize("before", [0, 5])
def test_a_case_that_fails_in_the_final_does_not_hide_a_gain(broken, before):
    both = tuning(OTHER, FAST, baselines=(RREP, TRAIN))
    ms = {RREP: 15, TRAIN: 15.1, FAST: 10, OTHER: 11}
    records = [each for case, t in ms.items() for each in took_turns(case, t, 12)]
    kept = [each for each in records if each.case != broken or each.round <= before]
    failure = Failure("run", broken.case_id, broken, "env", 6, "timed", "Killed", "no memory")
    ledger = Ledger(Recorded(ENVIRONMENT, [*kept, failure]), 0.02)
    found = final.outcome(both, ledger.board(final.questions(both)), {broken})
    assert (found.winner, found.baseline, found.finding) == (FAST, RREP, "FASTER")


def test_a_baseline_that_took_no_turns_leaves_the_gain_undecided():
    both = tuning(FAST, OTHER, baselines=(RREP, TRAIN))
    ms = {RREP: 15, TRAIN: 15.1, FAST: 10, OTHER: 30}
    rounds = {case: took_turns(case, each, 12) for case, each in ms.items()}
    rounds[TRAIN] = took_turns(TRAIN, 15.1, 12, run_id="alone")
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(both)]
    assert final.outcome(both, Board(answers, {}, 0.0)).finding == "UNDECIDED"


def wide(case, ms):
    """Rounds of a case that vary by 10 %."""
    factors = (0.9, 1.1, 0.97, 1.06, 0.93)
    return [
        msgspec.structs.replace(each, samples_s=[s * f for s in each.samples_s])
        for each, f in zip(took_turns(case, ms, 5), factors, strict=True)
    ]


@pytest.mark.parametrize("first_ms", [10.0, 12.0])  # a tie, and a slower one
def test_what_may_still_be_faster_comes_before_what_is_not(first_ms):
    both = tuning(FAST, OTHER)
    rounds = {RREP: took_turns(RREP, 10, 5), FAST: took_turns(FAST, first_ms, 5)}
    rounds[OTHER] = wide(OTHER, 9.2)
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(both)]
    found = final.outcome(both, Board(answers, {}, 0.0))
    assert (found.candidate, found.finding) == (OTHER, "UNDECIDED")


def test_a_gain_must_hold_against_each_baseline():
    both = tuning(FAST, OTHER, baselines=(RREP, TRAIN))
    ms = {RREP: 11.0, TRAIN: 11.1, FAST: 10, OTHER: 30}
    rounds = {case: took_turns(case, each, 12) for case, each in ms.items()}
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(both)]
    noisy = [
        msgspec.structs.replace(each, finding="UNDECIDED", why="kinds disagree")
        if each.question.cases == {TRAIN, FAST}
        else each
        for each in answers
    ]
    assert final.outcome(both, Board(answers, {}, 0.0)).finding == "FASTER"
    found = final.outcome(both, Board(noisy, {}, 0.0))
    assert (found.baseline, found.finding, found.why) == (TRAIN, "UNDECIDED", "kinds disagree")


MIXED = msgspec.structs.replace(FAST, form="srep-rrep-rrep-rrep")


@pytest.mark.parametrize(("ms", "winner"), [(9, MIXED), (9.98, FAST), (12, FAST)])
def test_a_mixture_of_forms_wins_only_if_it_is_faster_than_the_network_in_one_form(ms, winner):
    both = tuning(MIXED, FAST)
    rounds = {RREP: took_turns(RREP, 15, 12), FAST: took_turns(FAST, 10, 12)}
    rounds[MIXED] = took_turns(MIXED, ms, 12)
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(both)]
    assert final.outcome(both, Board(answers, {}, 0.0)).winner == winner


def test_a_mixture_does_not_win_where_the_network_in_one_form_is_not_proven_faster():
    both = tuning(MIXED, FAST)
    rounds = {RREP: took_turns(RREP, 10, 5), MIXED: took_turns(MIXED, 9.0, 5)}
    rounds[FAST] = wide(FAST, 9.3)
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(both)]
    assert final.outcome(both, Board(answers, {}, 0.0)).candidate == FAST
    alone = final.outcome(both, Board(answers, {}, 0.0), {FAST})
    assert (alone.winner, alone.finding) == (MIXED, "FASTER")


REDUCED = msgspec.structs.replace(FAST, precision="bf16")


def test_the_fastest_in_fp32_has_an_outcome_of_its_own_beside_a_reduced_precision():
    of = tuning(REDUCED, msgspec.structs.replace(OTHER, precision="bf16"), FAST)
    ms = {RREP: 15, REDUCED: 6, of.finalists[1]: 7, FAST: 10}
    rounds = {case: took_turns(case, each, 12) for case, each in ms.items()}
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(of)]
    board = Board(answers, {}, 0.0)
    found = final.outcome(of, board)
    exact = final.exact(of, board, found)
    assert (found.winner, exact.winner, exact.finding) == (REDUCED, FAST, "FASTER")
    assert exact.ratio.point == pytest.approx(10 / 15)
    assert final.exact(of, board, exact) is None
    assert final.exact(of, board, found, {FAST}) is None
    assert final.exact(tuning(REDUCED, RREP), board, found) is None


def test_an_undecided_final_takes_what_looks_faster_and_says_that_it_is_not_decided():
    close = tuning(FAST, OTHER)
    rounds = {
        RREP: took_turns(RREP, 10.4),
        FAST: took_turns(FAST, 10),
        OTHER: took_turns(OTHER, 12),
    }
    noisy = [
        msgspec.structs.replace(each, samples_s=[s * f for s in each.samples_s])
        for each, f in zip(rounds[FAST], (0.9, 1.1, 0.97), strict=True)
    ]
    rounds[FAST] = noisy
    answers = [answer(q, rounds[q.base], rounds[q.candidate]) for q in final.questions(close)]
    found = final.outcome(close, Board(answers, {}, 0.0))
    assert (found.finding, found.winner) == ("UNDECIDED", FAST)


def test_without_answers_nothing_but_the_baseline_is_named():
    found = final.outcome(tuning(FAST, OTHER), Board([], {}, 0.0))
    assert (found.winner, found.candidate, found.finding) == (RREP, None, "UNDECIDED")
    alone = final.outcome(tuning(RREP), Board([], {}, 0.0))
    assert alone.candidate is None

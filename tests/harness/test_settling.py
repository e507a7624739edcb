"""The loop of `bench settle` on simulated tables and on scripted boards."""

import contextlib
import itertools

import pytest
from support.runs import ON_FAKE, PLAN, Listener, fake, measure
from support.settle_tables import TABLES, Result, Table, total
from support.settled import took_turns

from bench.analysis.recorded import Recorded
from bench.analysis.settle import Board, Question, answer
from bench.analysis.settle.ledger import Ledger
from bench.analysis.stats import MARGIN
from bench.harness import remeasure
from bench.harness.settling import MOST_APART, settle
from bench.records import Case, of_cases
from bench.storage.results import Store

WRONG = 0.05  # of the decided questions
TIME = 0.5  # of the seconds of uniform rounds
FEW_TABLES = 6
PLANTS = (0, 1, 8, 15, 30)  # per cent by which a simulated network is slower
A, B, C = (Case(model, "plain") for model in ("resnet50", "swin_t", "convnext_t"))


def check(found: Result):
    assert found.decided >= found.questions / 3
    assert found.wrong <= WRONG * found.decided
    assert found.settle_s <= TIME * found.uniform_s


def test_few_decisions_are_wrong_and_they_cost_half_of_uniform_rounds():
    check(total(FEW_TABLES))


@pytest.mark.simulations
def test_few_decisions_of_all_tables_are_wrong_and_they_cost_half_of_uniform_rounds():
    check(total(TABLES))


@pytest.mark.slow
def test_rounds_of_the_scheduler_decide_rightly_on_the_fake_device(tmp_path):
    """Scheduler, store, ledger and statistics together; the true ratios are known."""
    cases = {fake(f"self/resnet50+{slower}/a"): 1 + slower / 100 for slower in PLANTS}
    questions = [Question(*pair) for pair in itertools.combinations(cases, 2)]
    measure(tmp_path, list(cases), PLAN.exactly(1), Listener())
    store = Store(tmp_path)
    store.open()
    with contextlib.closing(store):
        ledger = Ledger(Recorded(ON_FAKE, list(of_cases(store.records))), MARGIN)
        heard = Listener()
        heard.measured = lambda case, rounds: ledger.add([rounds[-1]])
        once = remeasure.one_by_one(PLAN, store, ON_FAKE, heard, {})
        board = settle(lambda: ledger.board(questions), once, 20)
    found = {each.question: each.finding for each in board.answers}
    expected = {each: _order(cases[each.candidate] / cases[each.base]) for each in found}
    decided = {each for each, finding in found.items() if finding != "UNDECIDED"}
    assert len(decided) >= 0.6 * len(questions)
    assert {each: found[each] for each in decided} == {each: expected[each] for each in decided}


def _order(ratio):
    return "SLOWER" if ratio > 1 + MARGIN else "FASTER" if ratio < 1 / (1 + MARGIN) else "SAME"


def test_the_time_is_kept():
    table = Table(1)
    table.measure(table.cases)
    began = table.now_s
    settle(table.look, table.measure, 300, now=lambda: table.now_s)
    assert 250 < table.now_s - began <= 300


def test_a_killed_call_goes_on_where_it_stopped():
    whole, killed = Table(2), Table(2)
    for table in (whole, killed):
        table.measure(table.cases)
    settle(whole.look, whole.measure, 900, now=lambda: whole.now_s)
    began = killed.now_s
    while killed.now_s < whole.now_s:  # each call is killed after one round

        def once(cases):
            killed.measure(cases)
            raise KeyboardInterrupt

        left_s = 900 - (killed.now_s - began)
        with pytest.raises(KeyboardInterrupt):
            settle(killed.look, once, left_s, now=lambda: killed.now_s)
    assert killed.rounds == whole.rounds


def test_each_round_is_told_with_the_seconds_left():
    table, told = Table(3), []
    table.measure(table.cases)
    settle(table.look, table.measure, 200, lambda *each: told.append(each), lambda: table.now_s)
    assert told[0][2] == 200
    assert all(later[2] < each[2] for each, later in itertools.pairwise(told))


def settled_apart(spoilt):
    """Settle two cases that never take turns, for 10 rounds at most; return rounds and answer."""
    known = {A: took_turns(A, 10.0, 2), B: took_turns(B, 10.1, 2, run_id="another")}
    rounds = []

    def measure(cases):
        rounds.append(cases)
        for case in cases:  # a wave of its own for each
            known[case] += took_turns(case, 10.0, 1, run_id=f"{case.model} {len(rounds)}")
        return spoilt

    def look():
        return Board([answer(Question(A, B), known[A], known[B])], {A: 1.0, B: 1.0}, 0.0)

    board = settle(look, measure, 10, now=lambda: float(len(rounds)))
    return len(rounds), board.answers[0]


def test_two_cases_that_never_take_turns_are_given_up_with_the_reason():
    rounds, found = settled_apart(spoilt=[])
    assert rounds == MOST_APART
    assert "did not take turns" in found.why


def test_a_spoilt_round_does_not_mean_that_two_cases_never_take_turns():
    rounds, found = settled_apart(spoilt=[B])
    assert rounds > MOST_APART
    assert not found.why


def test_nothing_is_measured_where_all_is_answered():
    known = Board(
        [answer(Question(A, C), *(took_turns(*each, 5) for each in ((A, 10), (C, 30))))],
        {A: 1.0, C: 1.0},
        0.0,
    )
    assert settle(lambda: known, pytest.fail, 1000) == known


def test_a_new_order_of_rows_asks_though_an_old_question_cannot_be_answered():
    known = {A: took_turns(A, 10.0, 2), B: took_turns(B, 10.1, 2, run_id="another")}
    known[C] = took_turns(C, 30.0, 2)
    asked, rounds = [Question(A, B)], []

    def measure(cases):
        rounds.append(set(cases))
        for case in cases:
            run = f"{case.model}" if B in cases else "together"
            known[case] += took_turns(
                case, 30.0 if case == C else 10.0, 1, run_id=f"{run} {len(rounds)}"
            )
        return []

    def look():
        answers = [answer(each, known[each.base], known[each.candidate]) for each in asked]
        return Board(answers, dict.fromkeys(known, 1.0), 0.0)

    def ask_again():
        asked[:] = [Question(A, B, ("another table",)), Question(A, C)]
        return look()

    board = settle(look, measure, 100, now=lambda: float(len(rounds)), ask_again=ask_again)
    assert rounds[:MOST_APART] == [{A, B}] * MOST_APART
    assert {A, C} in rounds
    assert rounds.count({A, B}) == MOST_APART
    assert [each.finding for each in board.answers] == ["UNDECIDED", "SLOWER"]
    assert "did not take turns" in board.answers[0].why

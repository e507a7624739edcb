"""The answer in words, and where a gain comes from."""

import msgspec
import pytest
from support.settled import took_turns
from support.tunings import SPACE

from bench.analysis.settle import Board, Question
from bench.analysis.settle import answer as given
from bench.analysis.stats import Estimate
from bench.records import Peaks
from bench.tune import answer
from bench.tune.final import Outcome
from bench.tune.search import NO_TIME
from bench.tune.tuning import Dropped, Tuning

RREP, SREP = SPACE.forms[1], SPACE.forms[3]
FAST = msgspec.structs.replace(RREP, backend="openvino", allocator="arena")


def outcome(finding, point, low, high):
    return Outcome(RREP, FAST, finding, Estimate(point, low, high), 7)


def test_a_gain_is_told_with_its_interval_and_all_settings():
    assert answer.sentence(outcome("FASTER", 1 / 1.52, 1 / 1.57, 1 / 1.45), 0.02) == (
        "1.52 times as fast as repnext_u3_t@rrep in eager mode (95 % interval 1.45 to 1.57): "
        "repnext_u3_t@rrep openvino, fp32, 2 threads, arena."
    )


def test_a_tie_is_a_proof():
    assert answer.sentence(outcome("SAME", 1.0, 0.99, 1.01), 0.02) == (
        "no gain: repnext_u3_t@rrep openvino, fp32, 2 threads, arena is as fast as "
        "repnext_u3_t@rrep in eager mode, proven within 2 %."
    )


def test_a_slower_candidate_is_no_gain():
    text = answer.sentence(outcome("SLOWER", 1.25, 1.2, 1.3), 0.02)
    assert text.startswith("no gain: the best form in eager mode, repnext_u3_t@rrep, is faster")
    assert "0.80 times its speed, 95 % interval 0.77 to 0.83" in text


def test_an_open_question_says_how_to_go_on():
    text = answer.sentence(outcome("UNDECIDED", 0.96, 0.9, 1.02), 0.02)
    assert text.startswith("not decided: ")
    assert text.endswith("after 7 rounds. Use a longer --for: the same command continues.")


def test_a_reason_against_more_rounds_takes_the_place_of_the_remedy():
    given = outcome("UNDECIDED", 0.96, 0.9, 1.02)._replace(why="kinds of processes disagree")
    text = answer.sentence(given, 0.02)
    assert text.endswith("after 7 rounds. kinds of processes disagree.")


def test_candidates_without_a_turn_are_counted_in_a_sentence():
    dropped = (Dropped(RREP, NO_TIME), Dropped(SREP, "slower"), Dropped(FAST, NO_TIME))
    tuning = Tuning(SPACE, "env", dropped=dropped)
    assert answer.untried(tuning).startswith("Not tried: 2 candidates, since the time")
    assert answer.untried(Tuning(SPACE, "env")) == ""


def test_without_a_candidate_there_is_no_answer():
    text = answer.sentence(Outcome(RREP, None, "UNDECIDED", None, 0), 0.02)
    assert text.startswith("no answer: ")


def test_the_gain_is_taken_apart_along_the_measured_candidates():
    between = msgspec.structs.replace(RREP, backend="openvino")
    steps = answer.steps(SREP, FAST, {SREP: 0.2, RREP: 0.1, between: 0.08, FAST: 0.05})
    assert [each.change for each in steps] == [
        "rrep instead of srep",
        "openvino instead of eager",
        "arena instead of default",
    ]
    assert [each.gain for each in steps] == pytest.approx([2.0, 1.25, 1.6])


def test_settings_without_a_candidate_between_them_count_together():
    steps = answer.steps(SREP, FAST, {SREP: 0.2, FAST: 0.05})
    assert [each.change for each in steps] == [
        "rrep instead of srep, openvino instead of eager, arena instead of default"
    ]
    assert answer.origin(steps).endswith("arena instead of default 4.00.")
    assert answer.origin([]) == ""


def test_threads_are_told_in_words():
    one = msgspec.structs.replace(RREP, threads=1)
    assert (
        answer.steps(RREP, one, {RREP: 0.2, one: 0.1})[0].change == "1 thread instead of 2 threads"
    )


MIXED = msgspec.structs.replace(FAST, form="srep-rrep-rrep-rrep")
SECONDS = {RREP: 0.2, FAST: 0.1, MIXED: 0.103}


def by_stage(seconds, answers=(), finalists=(FAST,)):
    space = msgspec.structs.replace(SPACE, stages=True)
    tuning = Tuning(space, "env", baselines=(RREP,), finalists=finalists)
    return answer.stages(tuning, Board(list(answers), {}, 0.0), seconds)


def test_nothing_is_said_of_stages_where_nobody_asked():
    assert answer.stages(Tuning(SPACE, "env"), Board([], {}, 0.0), SECONDS) == ""


def test_stages_that_were_not_tried_are_told():
    assert by_stage({RREP: 0.2, FAST: 0.1}) == "Stages: no stage was tried in another form."


def test_stages_that_drop_out_of_the_search_are_no_gain():
    """They are compared with the same settings, though another candidate is faster."""
    other = msgspec.structs.replace(FAST, precision="bf16")
    assert by_stage({**SECONDS, other: 0.05}, finalists=(other,)) == (
        "Stages: no gain from another form in one stage. repnext_u3_t@srep-rrep-rrep-rrep, the "
        "best of 1 with another form in one stage, takes 1.030 times as long in the search as the "
        "network in one form."
    )


def compared(ms, pairs):
    rounds = {FAST: took_turns(FAST, 10, 12), MIXED: took_turns(MIXED, ms, 12)}
    rounds[RREP] = took_turns(RREP, 10, 12)
    return [given(Question(a, b), rounds[a], rounds[b]) for a, b in pairs]


VERDICTS = [(9.0, "it is faster"), (9.99, "no gain is proven"), (12, "no gain is proven")]


@pytest.mark.parametrize(("ms", "said"), VERDICTS)
@pytest.mark.parametrize("whole", [FAST, RREP])  # RREP is a baseline, too
def test_a_mixture_in_the_final_is_compared_with_the_network_in_one_form(ms, said, whole):
    for pair in ((whole, MIXED), (MIXED, whole)):
        answers = compared(ms, [pair] if whole == RREP else [(RREP, FAST), (RREP, MIXED), pair])
        text = by_stage(SECONDS, answers, finalists=pair)
        assert f"{MIXED.name} takes {ms / 10:.3f} times as long as {whole.name} (" in text
        assert text.endswith(f"the best of 1 with another form in one stage: {said}.")


def test_a_mixture_that_the_final_did_not_compare_is_no_proven_gain():
    assert by_stage(SECONDS, finalists=(MIXED, FAST)).endswith(
        "was not compared in the final: no gain is proven."
    )


def test_huge_pages_are_told_in_words():
    never = msgspec.structs.replace(RREP, huge_pages="never")
    (step,) = answer.steps(RREP, never, {RREP: 0.2, never: 0.1})
    assert step.change == "no huge pages instead of the usual pages"


@pytest.mark.parametrize("share", [None, 0.0, 1.0, 1.3])
def test_nothing_is_said_of_a_share_that_shows_no_limit(share):
    assert answer.left(share, Peaks("run", "env", "fp32", 2, 800e9, 10e9)) == ""

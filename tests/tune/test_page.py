"""The page of a tuning."""

import msgspec
import pytest
from support.records import ENVIRONMENT
from support.settled import took_turns
from support.tunings import SPACE

from bench.analysis.settle import Board, answer
from bench.records import Cost, Failure, Peaks
from bench.tune import final, page
from bench.tune.result import Result
from bench.tune.tuning import Dropped, Tuning

RREP = SPACE.forms[1]
FAST, BROKEN = (msgspec.structs.replace(RREP, backend=each) for each in ("openvino", "onnxruntime"))
COST = Cost(macs=4_000_000_000, peak_memory_bytes=100 * 2**20)
PEAKS = Peaks("run", "env", "fp32", 2, 800e9, 10e9)
TUNING = Tuning(
    SPACE,
    "env",
    alive=(FAST, RREP),
    dropped=(Dropped(BROKEN, "failed at check: Wrong: the error is 0.5 | bad"),),
    baselines=(RREP,),
    finalists=(FAST, RREP),
    search_runs=("search",),
    final_runs=("final",),
    spent_s=600.0,
)


def turns_of(case, ms, run_id):
    return took_turns(case, ms, 12, run_id=run_id, cost=COST)


def result(fast_ms=10.0, peaks=PEAKS, lacking=()):
    both = {RREP: 15.0, FAST: fast_ms}
    of_final = {case: turns_of(case, ms, "final") for case, ms in both.items()}
    answers = [answer(q, of_final[q.base], of_final[q.candidate]) for q in final.questions(TUNING)]
    board = Board(answers, {}, 0.0)
    search = [each for case, ms in both.items() for each in turns_of(case, ms, "search")[:3]]
    failed = Failure("search", BROKEN.case_id, BROKEN, "env", 1, "check", "Wrong", "0.5")
    return Result(
        TUNING,
        final.outcome(TUNING, board),
        board,
        [*search, failed],
        [each for own in of_final.values() for each in own],
        0.02,
        lacking=lacking,
        peaks=peaks,
    )


def row_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


def test_the_page_begins_with_the_answer_and_what_is_possible():
    text = page.to_markdown(result(), ENVIRONMENT)
    first = text.split("\n\n")[1]
    assert first.startswith("1.50 times as fast as repnext_u3_t@rrep in eager mode")
    assert "openvino instead of eager 1.50" in first
    assert "At most 2.0 times as fast is possible in fp32: the network computes at 50% of " in first
    assert "(800 GMAC/s, 2 threads)" in first
    assert "The tuning took 10 min." in text


def test_without_peaks_nothing_is_said_of_what_is_possible():
    assert result(peaks=None).share_of_peak is None
    assert "is possible" not in page.to_markdown(result(peaks=None), ENVIRONMENT)


def test_the_share_of_the_peak_is_macs_per_second_over_the_peak():
    assert result().share_of_peak == pytest.approx(4e9 / 0.010 / 800e9, rel=0.01)


def test_every_candidate_has_a_row_with_its_fate():
    text = page.to_markdown(result(), ENVIRONMENT)
    table = text.split("## All candidates")[1]
    fast = row_of(table, "repnext_u3_t@rrep openvino")
    assert "the answer" in fast
    assert "1.50" in fast
    assert "100" in fast
    assert "baseline in the final" in row_of(table, "repnext_u3_t@rrep eager")
    broken = row_of(table, "repnext_u3_t@rrep onnxruntime")
    assert "failed at check: Wrong: the error is 0.5 \\| bad" in broken
    assert "nan" not in text


def test_the_final_has_a_row_per_question():
    text = page.to_markdown(result(), ENVIRONMENT)
    table = text.split("## The final")[1].split("## All")[0]
    assert "FASTER" in row_of(table, "repnext_u3_t@rrep eager, fp32, 2 threads")
    assert "0.667 (" in table


def test_an_undecided_winner_is_no_answer():
    given = result()
    undecided = given.outcome._replace(finding="UNDECIDED")
    text = page.to_markdown(given._replace(outcome=undecided), ENVIRONMENT)
    row = row_of(text.split("## All")[1], "repnext_u3_t@rrep openvino")
    assert "the fastest, not decided" in row


def test_without_a_gain_the_baseline_is_the_answer():
    slow = result(fast_ms=20.0)
    assert slow.outcome.winner == RREP
    text = page.to_markdown(slow, ENVIRONMENT)
    assert "no gain" in text
    assert "the answer" in row_of(text.split("## All")[1], "repnext_u3_t@rrep eager")


def test_a_finalist_that_failed_says_so():
    given = result()
    failed = Failure("final", FAST.case_id, FAST, "env", 1, "load", "MemoryError", "no memory")
    text = page.to_markdown(given._replace(final=[*given.final, failed]), ENVIRONMENT)
    row = row_of(text.split("## All")[1], "repnext_u3_t@rrep openvino")
    assert "failed in the final, at load: no memory" in row


def test_what_cannot_be_tried_here_is_listed():
    text = page.to_markdown(result(lacking=["no backend tensorrt here: <none>"]), ENVIRONMENT)
    assert "## Not tried here\n\n- no backend tensorrt here: \\<none\\>" in text
    assert "## Not tried here" not in page.to_markdown(result(), ENVIRONMENT)

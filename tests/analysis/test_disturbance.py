"""Rounds that another network disturbed: no number uses them, and the pages name them."""

import math

import pytest
from msgspec import structs
from support.records import CASE, ENVIRONMENT, NEIGHBOUR, OBSERVED, QUIET, measurement
from support.results import device, pages_of, write

from bench.analysis.disturbance import counted, left_out
from bench.analysis.explain import explain
from bench.analysis.ratio import usual_state
from bench.analysis.reasons import Doubt, Observation
from bench.analysis.recorded import latest
from bench.analysis.tally import LeftOut, tally
from bench.analysis.verdict import Machine, judge, judge_case, quiet_of
from bench.report import doubts
from bench.report.gather import Reading
from bench.report.page import data

SAID = (
    "a disturbed round with a median of 20.0 ms is left out, as the network nets/spin.py:net used "
    "45 % of the CPUs meanwhile"
)


def calm(number, **changes):
    return measurement(CASE, number, **{**OBSERVED, **changes})


def disturbed(number, **changes):
    slow = {"samples_s": [0.020], "block_compute_s": [9e-3], "block_memory_s": [9e-3]}
    return calm(number, **{**slow, "disturbed_by": [NEIGHBOUR], **changes})


FIRST, REPEATED, LAST = disturbed(1), calm(2), calm(3, stopped_by="rounds")


@pytest.mark.parametrize(
    ("rounds", "numbers"),
    [
        ([calm(1), calm(2)], [1, 2]),
        ([disturbed(1)], []),
        ([disturbed(1), calm(2)], [2]),
        ([calm(1), disturbed(2), disturbed(3)], [1, 3]),
        ([disturbed(1), disturbed(2), disturbed(3), calm(4), calm(5)], [2, 4, 5]),
    ],
)
def test_a_disturbed_round_is_repeated_once_and_its_repetition_counts(rounds, numbers):
    assert [record.round for record in counted(rounds)] == numbers


def test_the_number_and_the_verdict_are_those_of_the_other_rounds():
    (row,) = device([FIRST, REPEATED, LAST]).rows
    assert [record.round for record in row.rounds] == [2, 3]
    assert row.summary.median == 0.011
    assert (row.verdict.level, row.unfinished) == ("VALID", False)
    assert row.verdict.text == f"VALID: {SAID} (1 of 3 rounds)"
    assert row.verdict.reasons[0].doubt is Doubt.NEIGHBOUR


def test_a_case_without_other_rounds_has_the_disturbed_ones_with_their_doubt():
    several = [FIRST, disturbed(2, stopped_by="rounds")]
    (row,) = device(several).rows
    assert row.summary.median == 0.020
    assert row.verdict.level == "INVALID"
    said = "INVALID: the network nets/spin.py:net used 45 % of the CPUs meanwhile (2 of 2 rounds)"
    assert judge_case(several, Machine(quiet_of(several))).text == said
    barely = [structs.replace(NEIGHBOUR, share=0.2)]
    assert judge(calm(1, disturbed_by=barely), Machine(quiet_of([FIRST]))).level == "SUSPECT"


def spoilt(number, **changes):
    return calm(number, samples_s=[0.020], spoilt_by=["others used 30 % of the CPUs"], **changes)


def test_a_round_that_other_programs_spoilt_is_repeated_once_and_left_out():
    rounds = [spoilt(1), calm(2), calm(3), calm(4, stopped_by="rounds")]
    assert [record.round for record in counted(rounds)] == [2, 3, 4]
    assert [record.round for record in counted([spoilt(1), spoilt(2)])] == [2]
    (row,) = device(rounds).rows
    assert [record.round for record in row.rounds] == [2, 3, 4]
    said = (
        "a round with a median of 20.0 ms is left out, as other programs spoilt it; with all "
        "rounds, the latency would be 13.2 ms"
    )
    assert row.verdict.text == f"VALID: {said} (1 of 4 rounds)"
    assert list(doubts.footnotes("Chip", [row])) == [f"Left out on Chip: {said} (ResNet50)."]
    assert tally([ENVIRONMENT, *rounds]).left_out[LeftOut.SPOILT] == 1


def test_spoilt_rounds_count_where_fewer_than_three_others_remain():
    rounds = [spoilt(1), calm(2), calm(3, stopped_by="rounds")]
    (row,) = device(rounds).rows
    assert [record.round for record in row.rounds] == [1, 2, 3]
    assert tally([ENVIRONMENT, *rounds]).left_out[LeftOut.SPOILT] == 0


def test_a_disturbed_round_is_named_where_another_run_has_a_calm_one_of_its_number():
    reasons = left_out([calm(1), disturbed(1, run_id="b")])
    assert [[each.observation for each in of_one] for of_one in reasons] == [
        [],
        [Observation.DISTURBED_APART],
    ]


def test_a_restless_network_is_suspect_and_the_reason_has_its_share():
    verdict = judge(calm(1, restless_share=0.45), Machine(quiet_of([calm(1)])))
    said = "it was measured alone, as it used 45 % of the CPUs while other networks were timed"
    assert verdict.text == f"SUSPECT: {said}"
    assert "OMP_WAIT_POLICY" in verdict.reasons[0].doubt.value


def test_the_quiet_and_the_usual_state_are_those_of_the_other_rounds():
    fast = disturbed(1, block_compute_s=[1e-6], block_memory_s=[1e-6])
    assert quiet_of([fast, calm(2)]) == (1e-3, 1e-3)
    assert usual_state([fast, calm(2)]) == (math.log(1e-3), math.log(1e-3))
    assert quiet_of([fast]) == (1e-6, 1e-6)


def test_explain_uses_the_other_rounds_and_says_why_the_case_ended(tmp_path):
    rounds = [calm(1), disturbed(2), disturbed(3, stopped_by="rounds")]
    (recorded,) = latest(write(tmp_path / "chip", [ENVIRONMENT, *rounds]))
    assert [record.round for record in recorded.history(CASE).rounds] == [1]
    shown = dict(explain(recorded, CASE))
    assert shown["ended by"].startswith("rounds: ")
    assert SAID in shown["verdict"]
    assert Doubt.NEIGHBOUR.value in shown["remedy"]


def test_tables_and_pages_name_the_round_and_who_disturbed_it():
    records = [ENVIRONMENT, FIRST, REPEATED, LAST]
    found = list(doubts.footnotes("Chip", device(records[1:]).rows))
    assert found == [f"Left out on Chip: {SAID} (ResNet50)."]
    assert SAID in pages_of(records)["results.md"].decode().replace("\\", "")
    shown = data.encoded([device(records[1:])], [], Reading([], [], []))
    assert f"{SAID} (1 of 3 rounds)" in shown


def test_a_doubtful_case_has_both_footnotes():
    busy = structs.replace(QUIET, busy_cpu_s=1.26)
    rows = device([FIRST, structs.replace(REPEATED, conditions=busy), LAST]).rows
    marked, left_out = doubts.footnotes("Chip", rows)
    assert marked.startswith("† SUSPECT on Chip: other processes used 13 % of the CPUs")
    assert left_out.startswith("Left out on Chip: a disturbed round")

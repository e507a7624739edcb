"""Ranks are the places that a row can have, on any table of findings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import ENVIRONMENT, OBSERVED, rounds

from bench.analysis import ranks, rows
from bench.analysis.ranks import Rank
from bench.analysis.ratio import compare


def table(count, *faster):
    """Return the findings for `count` rows: of each pair, the first was found faster."""
    return [[(one, other) in faster for other in range(count)] for one in range(count)]


@st.composite
def tables(draw):
    """Return any table of findings: they may be circular, and need not be transitive."""
    count = draw(st.integers(1, 7))
    pairs = list(itertools.combinations(range(count), 2))
    found = draw(st.lists(st.sampled_from([0, 1, -1]), min_size=len(pairs), max_size=len(pairs)))
    both = zip(pairs, found, strict=True)
    return table(count, *(pair[::sign] for pair, sign in both if sign))


@st.composite
def orders(draw):
    """Return a table of findings, and an order of its rows that agrees with all of them."""
    order = draw(st.permutations(range(draw(st.integers(1, 9)))))
    pairs = list(itertools.combinations(order, 2))
    found = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return table(len(order), *itertools.compress(pairs, found)), order


@given(tables())
def test_a_rank_is_wholly_above_another_only_if_the_row_was_found_slower(faster):
    found = ranks.numbers(faster)
    assert all(1 <= rank.first <= rank.last <= len(faster) for rank in found)
    for one, other in itertools.permutations(range(len(faster)), 2):
        if found[one].last < found[other].first:
            assert faster[one][other]


@given(orders())
def test_each_order_that_agrees_with_the_findings_has_its_places_within_the_ranks(drawn):
    faster, order = drawn
    found = ranks.numbers(faster)
    for place, row in enumerate(order, 1):
        assert found[row].first <= place <= found[row].last


@given(orders())
def test_a_row_has_no_place_before_those_found_faster_or_behind_those_found_slower(drawn):
    faster, _ = drawn
    for row, rank in enumerate(ranks.numbers(faster)):
        assert rank.first <= 1 + sum(other[row] for other in faster)
        assert rank.last == len(faster) - sum(faster[row])


@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        (table(3, (0, 1), (0, 2), (1, 2)), ["1", "2", "3"]),
        (table(3, (2, 0), (2, 1), (1, 0)), ["3", "2", "1"]),
        (table(3), ["1–3", "1–3", "1–3"]),
        (table(3, (0, 2)), ["1–2", "1–3", "2–3"]),
        (table(4, (0, 2), (0, 3), (1, 3)), ["1–2", "1–3", "2–4", "3–4"]),
        # Two rows between the first and the last, which are not told apart from each other.
        (table(4, (0, 1), (0, 2), (1, 3), (2, 3)), ["1–2", "2–3", "2–3", "2–4"]),
        (table(3, (0, 1), (1, 2), (2, 0)), ["2", "2", "2"]),
    ],
)
def test_small_tables(faster, expected):
    assert list(map(ranks.text, ranks.numbers(faster))) == expected


def test_the_text_of_a_rank():
    assert list(map(ranks.text, (None, Rank(3, 3), Rank(2, 4)))) == ["", "3", "2–4"]


def test_no_row_has_no_rank():
    assert ranks.numbers([]) == []


@pytest.mark.parametrize(("processes", "rank"), [(1, ""), (2, "1–2"), (3, "1")])
def test_one_process_has_no_rank_and_two_decide_nothing(processes, rank):
    records = [
        record
        for model, ms in (("resnet50", 10.0), ("swin_t", 20.0))
        for record in rounds(model, latencies_ms=[ms] * processes, last="rounds", **OBSERVED)
    ]
    found = rows.of([ENVIRONMENT, *records])
    assert ranks.text(found[0].rank) == rank
    assert (found[0].interval is None) == (processes < 3)
    assert found[0].verdict.level == ("SUSPECT" if processes == 1 else "VALID")


def test_ranks_and_ties_of_records_agree_with_each_comparison():
    """The noisy row in the middle is told apart from neither of its neighbours."""
    noisy = {
        "resnet50": (10.0, 10.1, 10.1),
        "swin_t": (9.0, 13.0, 11.0),
        "deit_s": (12.0, 12.1, 12.1),
    }
    records = [
        record
        for model, latencies in noisy.items()
        for record in rounds(model, latencies_ms=latencies, last="rounds", **OBSERVED)
    ]
    found = {row.case.model: row for row in rows.of([ENVIRONMENT, *records])}
    assert {model: ranks.text(row.rank) for model, row in found.items()} == {
        "resnet50": "1–2",
        "swin_t": "1–3",
        "deit_s": "2–3",
    }
    for one, other in itertools.permutations(found.values(), 2):
        decided = compare(one.rounds, other.rounds).finding in ("FASTER", "SLOWER")
        assert decided != (other.case.case_id in one.ties)

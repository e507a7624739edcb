"""Ranks share a number if and only if their rows are not told apart, on any table of findings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import ENVIRONMENT, OBSERVED, rounds

from bench.analysis import ranks, rows
from bench.analysis.ratio import compare


def table(count, *apart):
    """Return the findings for `count` rows, of which these pairs are told apart."""
    return [
        [tuple(sorted((one, other))) in apart for other in range(count)] for one in range(count)
    ]


@st.composite
def tables(draw):
    """Return any symmetric table of findings, transitive or not."""
    count = draw(st.integers(0, 9))
    pairs = list(itertools.combinations(range(count), 2))
    flags = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return table(count, *itertools.compress(pairs, flags))


@given(tables())
def test_rows_share_a_number_if_and_only_if_they_are_not_told_apart(apart):
    found = ranks.numbers(apart)
    assert all(rank == tuple(sorted(set(rank))) and rank for rank in found)
    for one, other in itertools.combinations(range(len(apart)), 2):
        assert bool({*found[one]} & {*found[other]}) != apart[one][other]


@given(tables())
def test_numbers_are_used_without_gaps_and_follow_the_speed(apart):
    found = ranks.numbers(apart)
    used = {number for rank in found for number in rank}
    assert used == set(range(1, len(used) + 1))
    assert not found or found[0][0] == 1
    for fast, slow in itertools.combinations(range(len(apart)), 2):
        assert not apart[fast][slow] or found[fast][0] < found[slow][-1]


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        (table(3, (0, 1), (0, 2), (1, 2)), ["1", "2", "3"]),
        (table(3), ["1", "1", "1"]),
        (table(3, (0, 2)), ["1", "1–2", "2"]),
        (table(4, (0, 2), (0, 3), (1, 3)), ["1", "1–2", "2–3", "3"]),
        # A noisy first row: the third is told apart from the second, but not from the first.
        (table(3, (0, 1), (1, 2)), ["1", "2", "1, 3"]),
    ],
)
def test_small_tables(apart, expected):
    assert list(map(ranks.text, ranks.numbers(apart))) == expected


def test_the_text_joins_only_neighbouring_numbers():
    given_ = [(), (3,), (2, 3), (2, 3, 4), (2, 4), (1, 3, 4, 5, 9)]
    assert list(map(ranks.text, given_)) == ["", "3", "2–3", "2–4", "2, 4", "1, 3–5, 9"]


def test_ranks_of_records_agree_with_each_comparison():
    """The noisy row in the middle is told apart from neither of its neighbours."""
    noisy = {"resnet50": (10.0, 10.1), "swin_t": (9.0, 13.0), "deit_s": (12.0, 12.1)}
    records = [
        record
        for model, latencies in noisy.items()
        for record in rounds(model, latencies_ms=latencies, last="rounds", **OBSERVED)
    ]
    found = {row.case.model: row for row in rows.of([ENVIRONMENT, *records])}
    assert {model: row.rank for model, row in found.items()} == {
        "resnet50": (1,),
        "swin_t": (1, 2),
        "deit_s": (2,),
    }
    for one, other in itertools.permutations(found.values(), 2):
        decided = compare(one.rounds, other.rounds).finding in ("FASTER", "SLOWER")
        assert decided != bool({*one.rank} & {*other.rank})

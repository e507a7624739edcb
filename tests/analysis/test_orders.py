"""Kendall's tau of two orders of networks, with what is not told apart."""

import math

import pytest
from support.records import ENVIRONMENT, OBSERVED, rounds

from bench.analysis import rows
from bench.analysis.orders import agreement

NAMES = ("resnet50", "swin_t", "convnext_t", "mobilenetv3_l")


def in_order(*latencies_ms):
    """Rows of networks with these latencies; a pair means that the latency varies between both."""
    several = [ms if isinstance(ms, tuple) else (ms, ms) for ms in latencies_ms]
    records = [
        rounds(name, latencies_ms=[*each, *each], last="rounds", **OBSERVED)
        for name, each in zip(NAMES, several, strict=False)
    ]
    return rows.of([ENVIRONMENT, *(record for group in records for record in group)])


def test_equal_opposite_and_mixed_orders():
    up, down, mixed = in_order(1, 2, 3, 4), in_order(4, 3, 2, 1), in_order(1, 3, 2, 4)
    assert agreement(up, up) == (1, 1, 1, [])
    *ends, opposite = agreement(up, down)
    assert (ends, len(opposite)) == ([-1, -1, -1], 6)
    *ends, opposite = agreement(up, mixed)
    assert ends == pytest.approx([4 / 6] * 3)
    assert opposite == [(1, 2)]


def test_a_pair_that_is_not_told_apart_counts_as_measured_and_widens_the_ends():
    known, alike, opposite = (
        in_order(1, 2, 3),
        in_order(1, (2, 4), (2.1, 4)),
        in_order(1, (2.1, 4), (2, 4)),
    )
    assert agreement(known, alike)[:3] == pytest.approx((1, 1 / 3, 1))
    assert agreement(known, opposite)[:3] == pytest.approx((1 / 3, 1 / 3, 1))
    assert agreement(known, opposite).opposite == []


def test_one_network_has_no_order():
    assert agreement(in_order(1), in_order(2)) is None
    assert math.isclose(agreement(in_order(1, 2), in_order(1, 2)).tau, 1)

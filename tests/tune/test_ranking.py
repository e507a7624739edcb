"""Latencies from rounds in which different cases took turns."""

import pytest
from support.records import measurement

from bench.records import Case
from bench.tune.ranking import latencies

A, B, C = (Case(model, "plain") for model in ("resnet50", "swin_t", "convnext_t"))


def round_of(sitting, **ms):
    cases = {"a": A, "b": B, "c": C}
    return [
        measurement(cases[name], sitting, sitting=sitting, samples_s=[each / 1e3] * 3)
        for name, each in ms.items()
    ]


def test_without_rounds_there_is_no_latency():
    assert latencies([]) == {}


def test_in_one_sitting_the_latencies_have_the_ratios_of_the_medians():
    found = latencies(round_of(1, a=10, b=20, c=40))
    assert found[B] / found[A] == pytest.approx(2)
    assert found[C] / found[A] == pytest.approx(4)


def test_a_slow_sitting_does_not_make_its_cases_slow():
    """c was measured only while the machine took twice as long; a tells so."""
    quiet = [each for sitting in range(1, 9) for each in round_of(sitting, a=10, b=15)]
    found = latencies([*quiet, *round_of(9, a=20, c=24)])
    assert found[C] / found[A] == pytest.approx(1.2, rel=0.15)
    assert found[C] < found[B]


def test_cases_without_a_common_sitting_are_compared_by_their_medians():
    found = latencies([*round_of(1, a=10), *round_of(2, b=20)])
    assert found[A] < found[B]

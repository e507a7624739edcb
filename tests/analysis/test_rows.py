"""The estimators of a row: the latency, its interval, and what pools all iterations."""

import statistics

import pytest
from support.records import ENVIRONMENT, OBSERVED, timed

from bench.analysis import rows
from bench.analysis.ranks import Rank
from bench.analysis.stats import Tail
from bench.records import Case

# A fast process makes more iterations in the same time, so it weighs more in the pooled mean.
FAST, SLOW = [0.010] * 300 + [0.05], [0.020] * 20


def row_of(*processes, **changes):
    """Return the row of a case with the samples of these processes."""
    fields = {**OBSERVED, **changes}
    records = [
        timed("resnet50", round_number=number, samples_s=samples, **fields)
        for number, samples in enumerate(processes, 1)
    ]
    (found,) = rows.of([ENVIRONMENT, *records])
    return found


def test_the_latency_is_the_mean_of_the_medians_and_lies_in_its_interval():
    found = row_of(FAST, SLOW, [0.015] * 20, batch=8)
    assert found.typical_s == pytest.approx(0.015)
    assert found.interval.point == found.typical_s
    assert found.interval.low < found.typical_s < found.interval.high
    assert found.throughput == pytest.approx(8 / 0.015)
    assert found.summary.mean == pytest.approx(statistics.fmean([*FAST, *SLOW, *[0.015] * 20]))
    assert found.summary.std == pytest.approx(statistics.stdev([*FAST, *SLOW, *[0.015] * 20]))
    assert found.summary.median == 0.010


def test_the_latency_of_one_process_is_its_median():
    found = row_of(FAST, batch=8)
    assert (found.typical_s, found.interval) == (0.010, None)
    assert found.throughput == pytest.approx(800)


@pytest.mark.parametrize(
    ("counts", "known"),
    [
        ((63,), []),
        ((32, 32), ["p90"]),
        ((65, 65), ["p90", "p95"]),
        ((331, 331), ["p90", "p95", "p99"]),
    ],
)
def test_percentiles_are_given_where_the_samples_of_all_processes_support_them(counts, known):
    processes = [[0.01 + 1e-6 * i for i in range(count)] for count in counts]
    found = row_of(*processes).tail
    assert [name for name, value in found._asdict().items() if value is not None] == known
    if known:
        pooled = [sample for samples in processes for sample in samples]
        expected = statistics.quantiles(pooled, n=10, method="inclusive")[-1]
        assert found.p90 == pytest.approx(expected)


def test_groups_of_calls_have_no_percentiles():
    assert row_of([1e-6] * 700, calls_per_sample=100).tail == Tail()


@pytest.mark.parametrize(("field", "other"), [("allocator", "arena"), ("input", "3x160x224")])
def test_cases_of_different_allocators_or_images_are_not_ranked_together(field, other):
    networks, usual = {"resnet50": 10.0, "swin_t": 20.0}, getattr(Case("", ""), field)
    records = [
        timed(model, ms=ms * factor, round_number=number, sitting=number, **{field: value})
        for number in (1, 2, 3)
        for value, factor in ((usual, 1.0), (other, 0.7))
        for model, ms in networks.items()
    ]
    found = rows.of([ENVIRONMENT, *records])
    ranks = {(row.case.model, getattr(row.case, field)): row.rank for row in found}
    assert ranks == {
        ("resnet50", usual): Rank(1, 1),
        ("swin_t", usual): Rank(2, 2),
        ("resnet50", other): Rank(1, 1),
        ("swin_t", other): Rank(2, 2),
    }

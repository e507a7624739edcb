import pytest

from bench.analysis.choose.budget import Budget, Limit, limits, objective
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("flag", "text", "limit"),
    [
        ("--max-latency", "20ms", Limit("latency", 0.02)),
        ("--max-latency", "20 ms:p50", Limit("latency", 0.02)),
        ("--max-latency", "1.5s:p95", Limit("p95", 1.5)),
        ("--max-latency", "800us", Limit("latency", 8e-4)),
        ("--max-latency", "800\N{GREEK SMALL LETTER MU}s", Limit("latency", 8e-4)),
        ("--max-load", "2min", Limit("load", 120.0)),
        ("--max-memory", "300MB", Limit("memory", 3e8)),
        ("--max-memory", ".5GiB", Limit("memory", 2.0**29)),
        ("--max-power", "7500mW", Limit("power", 7.5)),
        ("--min-top1", "80", Limit("top1", 80.0)),
        ("--min-top1", "80%", Limit("top1", 80.0)),
    ],
)
def test_an_amount_with_its_unit_is_a_limit_in_si_units(flag, text, limit):
    (found,) = limits([(flag, text)])
    assert found.quantity == limit.quantity
    assert found.bound == pytest.approx(limit.bound)


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        ("--max-latency", "20", "--max-latency 20 has no unit"),
        ("--max-latency", "fast", "is not a number with a unit: us or µs or ms or s or min"),
        ("--max-latency", "20MB", "is not a number with a unit"),
        ("--max-latency", "-20ms", "is not a number with a unit"),
        ("--max-latency", "0ms", "must be above 0"),
        ("--max-latency", "20ms:p42", "has no known percentile after the colon"),
        ("--max-latency", "20ms:", "has no known percentile after the colon"),
        ("--max-memory", "300MB:p95", "has no known percentile after the colon"),
        ("--max-memory", "300M", "is not a number with a unit: kb or mb"),
        ("--max-power", "1e3W", "is not a number with a unit: mW or W"),
        ("--min-top1", "101", "must be above 0 and at most 100"),
        ("--max-power", "15MW", "is not a number with a unit"),
        ("--max-memory", "300MB:memory", "has no known percentile after the colon"),
        ("--min-top1", "0.8", "is less than 1 %"),
        ("--min-top1", "80ms", "is not a number with a unit: %"),
        ("--max-latency", f"{'9' * 400}s", "must be above 0"),
    ],
)
def test_any_other_text_is_refused_with_an_example(flag, text, message):
    with pytest.raises(UsageError) as caught:
        limits([(flag, text)])
    assert message in caught.value.message
    assert flag in caught.value.remedy or "For example" in caught.value.remedy


def test_limits_of_two_percentiles_hold_together():
    found = limits([("--max-latency", "20ms"), ("--max-latency", "30ms:p99")])
    assert [limit.text for limit in found] == ["latency at most 20 ms", "p99 at most 30 ms"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("20ms", "30ms"), "two limits: latency at most 20 ms, and latency at most 30 ms"),
        (("20ms:p50", "30ms"), "two limits"),
        (
            ("20ms", "10ms:p95"),
            "makes another useless: p95 at most 10 ms, and latency at most 20 ms",
        ),
        (
            ("10ms:p99", "20ms:p90"),
            "makes another useless: p99 at most 10 ms, and p90 at most 20 ms",
        ),
    ],
)
def test_limits_that_contradict_each_other_are_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        limits([("--max-latency", text) for text in texts])


def test_an_unknown_objective_is_refused_and_the_known_ones_are_named():
    with pytest.raises(UsageError) as caught:
        objective("speed")
    assert "latency, top1, energy" in caught.value.remedy


def test_a_budget_in_words():
    budget = Budget(limits([("--max-latency", "20ms"), ("--min-top1", "80")]), objective="energy")
    assert budget.text == (
        "batch 1, latency at most 20 ms, top-1 at least 80 % on ImageNet-1K; by energy per image"
    )

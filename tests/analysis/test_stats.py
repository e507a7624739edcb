"""Each statistic is compared with SciPy or a hand-worked case, and intervals by simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.analysis import stats
from bench.analysis.paired import paired_ratio
from bench.analysis.stats import Estimate

RUNS = 3000
PROCESS_SPREAD = 0.03


def test_summary_pools_samples_of_all_processes():
    summary = stats.summarise([[1.0, 2.0, 4.0], [3.0, 10.0]])
    pooled = np.array([1.0, 2.0, 4.0, 3.0, 10.0])
    assert summary.mean == pytest.approx(pooled.mean())
    assert summary.std == pytest.approx(pooled.std(ddof=1))
    assert summary.median == np.median(pooled)
    assert (summary.samples, summary.processes) == (5, 2)


def test_mean_and_std_of_all_iterations_are_one_text_in_milliseconds():
    summary = stats.summarise([[0.010, 0.012], [0.020, 0.030, 0.028]])
    std = np.std([10, 12, 20, 30, 28], ddof=1)
    assert summary.spread_ms == f"20.0 ± {std:.1f}"
    assert stats.summarise([[0.010]]).spread_ms == "10.0"


def test_std_of_one_sample_is_nan():
    assert math.isnan(stats.summarise([[1.0]]).std)


def test_summary_of_no_samples_raises():
    with pytest.raises(ValueError, match="no samples"):
        stats.summarise([[], []])


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [3.1, 2.9, 3.3, 3.0, 2.7, 3.4]])
def test_mean_interval_equals_scipy(values):
    low, high = scipy_stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=scipy_stats.sem(values)
    )
    assert stats.mean_interval(values) == pytest.approx((np.mean(values), low, high))


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_no_interval_comes_from_fewer_than_three_processes(processes):
    few = [1.0, 1.1][:processes]
    assert stats.mean_interval(few) is None
    assert paired_ratio([[log, log, log] for log in few]) is None
    assert stats.separate_ratio(few, [1.0, 1.1, 1.2], 0.1) is None
    assert stats.separate_ratio([1.0, 1.1, 1.2], few, 0.1) is None
    if few:
        assert stats.latency([[sample] * 99 for sample in few]) is None


def test_the_latency_is_the_mean_of_the_processes_medians():
    found = stats.latency([[1.0, 2.0, 9.0], [4.0, 4.0], [3.0]])
    spread = np.std(np.log([2, 4, 3]), ddof=1)
    factor = math.exp(scipy_stats.t.ppf(0.975, 2) * spread / math.sqrt(3))
    assert found == pytest.approx((3.0, 3 / factor, 3 * factor))
    assert found.half_width == pytest.approx((found.high - found.low) / 2 / 3)


@pytest.mark.parametrize("medians", [(0.1, 0.9, 0.2), (1e-9, 1.0, 0.5), (2.0, 2.1, 2.05)])
def test_the_interval_of_a_latency_is_positive_and_contains_the_mean(medians):
    mean, low, high = stats.latency([[median] for median in medians])
    assert 0 < low < mean < high < math.inf
    assert mean == pytest.approx(sum(medians) / 3)


def test_the_interval_of_a_latency_with_a_small_spread_is_the_t_interval_of_the_mean():
    draw = np.random.default_rng(4)
    for medians in draw.lognormal(-3, 0.02, (100, 6)).tolist():
        found, plain = stats.latency([[each] for each in medians]), stats.mean_interval(medians)
        assert found.half_width == pytest.approx(plain.half_width, rel=0.05)
        assert found == pytest.approx(plain, rel=0.002)


def test_the_interval_of_a_latency_without_a_finite_end_is_none():
    assert stats.latency([[1e-120], [1.0], [1e120]]) is None


def test_median_interval_has_binomial_coverage():
    assert stats.median_interval(range(10)) is None
    # n = 11: x(2) and x(10), coverage 1 - 2 P(X <= 1) = 0.988
    assert stats.median_interval(list(range(11))) == (5, 1, 9)
    for n in (11, 30, 100):
        _, low, high = stats.median_interval(list(range(n)))
        beyond = low  # the number of samples below the lower bound
        assert (
            scipy_stats.binom.cdf(beyond, n, 0.5) <= 0.025 < scipy_stats.binom.cdf(low + 1, n, 0.5)
        )
        assert low + high == n - 1


@pytest.mark.parametrize(("share", "fewest"), [(0.9, 64), (0.95, 130), (0.99, 662)])
def test_percentile_needs_enough_samples_beyond_it(share, fewest):
    samples = list(np.random.default_rng(0).normal(size=fewest))
    assert stats.percentile(samples[:-1], share) is None
    assert stats.percentile(samples, share) == pytest.approx(np.quantile(samples, share))


def test_percentile_of_no_samples_is_none():
    assert stats.percentile([], 0.9) is None


def test_outliers_are_counted_by_tukeys_fences():
    calm = [10.0, 11.0, 12.0, 13.0, 14.0]  # quartiles 11 and 13: fences 8 and 16
    assert stats.count_outliers(calm) == 0
    assert stats.count_outliers([*calm, 40.0]) == 1
    assert stats.count_outliers([1.0, 100.0]) == 0


def test_separate_ratio_without_drift_equals_welch():
    base, candidate = [1.0, 1.1, 0.95, 1.02], [1.3, 1.2, 1.25, 1.4, 1.22]
    welch = scipy_stats.ttest_ind(np.log(candidate), np.log(base), equal_var=False)
    low, high = welch.confidence_interval(0.95)
    found = stats.separate_ratio(base, candidate, 0.0)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    wider = stats.separate_ratio(base, candidate, 0.1)
    assert wider.low < found.low < found.high < wider.high


def test_interval_of_equal_values_has_zero_width():
    assert stats.separate_ratio([1.0] * 3, [1.0] * 3, 0.0) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (0.90, 0.97, "FASTER"),
        (0.90, 0.985, "UNDECIDED"),
        (1.03, 1.10, "SLOWER"),
        (1.01, 1.10, "UNDECIDED"),
        (0.99, 1.01, "SAME"),
        (0.97, 1.01, "UNDECIDED"),
    ],
)
def test_finding_depends_on_interval_and_margin(low, high, finding):
    assert stats.find(Estimate((low + high) / 2, low, high)) == finding


def test_finding_without_ratio_is_undecided():
    assert stats.find(None) == "UNDECIDED"


def power(rounds, total, margin=0.02):
    """The probability that `total` rounds find SLOWER, by the formula of the docstring."""
    k, centre, spread = len(rounds), np.mean(rounds), np.std(rounds, ddof=1)
    likely = spread * math.sqrt((k - 1) / scipy_stats.chi2.median(k - 1))
    needed = math.log(1 + margin) + scipy_stats.t.ppf(0.975, total - 1) * likely / math.sqrt(total)
    moves = spread * math.sqrt((total - k) / (total * k))
    return scipy_stats.t.sf((needed - centre) / moves, k - 1)


def test_more_rounds_decide_with_a_probability_of_80_percent():
    rounds = (0.04, 0.10, 0.02, 0.09)
    near = paired_ratio([[v] for v in rounds])
    assert stats.find(near) == "UNDECIDED"
    more = stats.more_rounds(near, 4)
    assert power(rounds, 4 + more - 1) < 0.8 <= power(rounds, 4 + more)


def kept_promises(draw, rounds, spread, truth=None):
    """Of simulated cases that say "n more rounds would decide", the share that n more decide."""
    kept = []
    for _ in range(600):
        effect = draw.uniform(-0.2, 0.2) if truth is None else truth
        logs = draw.normal(effect, spread, 250).tolist()
        first = paired_ratio([[value] for value in logs[:rounds]])
        if stats.find(first) == "UNDECIDED" and (more := stats.more_rounds(first, rounds)):
            later = paired_ratio([[value] for value in logs[: rounds + more]])
            kept.append(stats.find(later) != "UNDECIDED")
    assert len(kept) > 50
    return np.mean(kept)


@pytest.mark.parametrize("rounds", [3, 4, 6])
def test_most_comparisons_are_decided_after_the_rounds_that_they_ask_for(rounds):
    draw = np.random.default_rng(rounds)
    assert kept_promises(draw, rounds, 0.05) >= 0.7
    assert kept_promises(draw, rounds, 0.08, math.log(1.05)) >= 0.5


def test_ratio_on_the_margin_needs_more_than_200_rounds():
    on_it = math.log(1.02)
    ratio = paired_ratio([[on_it - 0.05], [on_it + 0.05], [on_it - 0.04], [on_it + 0.04]])
    assert stats.more_rounds(ratio, 4) is None


def coverage(estimates, truth):
    return np.mean([low <= truth <= high for _, low, high in estimates])


@pytest.mark.parametrize("processes", [5, 6, 8, 12])
def test_latency_interval_has_nominal_coverage(processes):
    """Samples of one process are correlated, so a pooled interval would cover far less."""
    draw = np.random.default_rng(processes)
    effects = draw.lognormal(math.log(0.05), PROCESS_SPREAD, (RUNS, processes, 1))
    samples = effects * draw.lognormal(0, 0.05, (RUNS, processes, 15))
    truth = 0.05 * math.exp(PROCESS_SPREAD**2 / 2)
    found = [stats.latency(run) for run in samples.tolist()]
    assert 0.93 <= coverage(found, truth) <= 0.97


def test_separate_ratio_covers_despite_drift_between_runs():
    draw = np.random.default_rng(1)
    drift = 0.1
    moved = draw.normal(0, drift, (RUNS, 2, 1))
    logs = moved + draw.normal(0, PROCESS_SPREAD, (RUNS, 2, 6))
    found = [stats.separate_ratio(*np.exp(run).tolist(), drift) for run in logs]
    assert coverage(found, 1.0) >= 0.93


def in_two_states(draw, processes, slope):
    """Log-ratios that depend linearly on a state that changes from round to round."""
    states = draw.choice([0.0, 0.4], (processes, 1)) + draw.normal(0, 0.02, (processes, 5))
    logs = (
        slope * states + draw.normal(0, 0.02, (processes, 1)) + draw.normal(0, 0.02, (processes, 5))
    )
    return logs.tolist(), states[..., None].tolist()


def test_adjusted_ratio_equals_ratio_in_reference_state():
    draw = np.random.default_rng(2)
    rounds, states = zip(*[in_two_states(draw, 12, 0.5) for _ in range(300)], strict=True)
    found = [stats.adjusted_ratio(r, s, [0.2]) for r, s in zip(rounds, states, strict=True)]
    plain = [paired_ratio(r) for r in rounds]
    truth = math.exp(0.1)
    assert np.mean([each.point for each in found]) == pytest.approx(truth, rel=0.01)
    assert 0.90 <= coverage(found, truth) <= 0.99
    assert np.std([each.point for each in found]) < np.std([each.point for each in plain]) / 2


def test_adjustment_is_small_on_a_steady_machine():
    draw = np.random.default_rng(3)
    rounds = draw.normal(0.1, 0.03, (8, 5)).tolist()
    states = draw.normal(0, 1e-4, (8, 5, 2)).tolist()
    adjusted, plain = stats.adjusted_ratio(rounds, states, [0, 0]), paired_ratio(rounds)
    assert adjusted.point == pytest.approx(plain.point, rel=1e-3)


def test_adjustment_of_equal_rounds_in_one_state_is_zero():
    found = stats.adjusted_ratio([[0.1]] * 6, [[[0.0, 0.0]]] * 6, [0, 0])
    assert found == pytest.approx([math.exp(0.1)] * 3)


def test_adjusted_ratio_of_too_few_rounds_is_none():
    assert stats.adjusted_ratio([[0.1]] * 4, [[[0.0, 0.0]]] * 4, [0, 0]) is None

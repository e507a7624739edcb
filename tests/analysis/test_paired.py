"""The ratio of two cases holds what varies between rounds and within them."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.analysis import stats
from bench.analysis.paired import paired_ratio, ratio_of_runs

RUNS = 3000
PROCESS_SPREAD = 0.03
# Log-ratios of blocks of two pairs of twins in a real run; the spread of the four means is small.
TWINS = ((-0.099, 0.065, 4), (-0.055, 0.096, 4), (-0.049, 0.203, 4), (-0.111, 0.163, 3))


def blocks_with(mean, deviation, count):
    """Return `count` values of this mean and standard deviation."""
    values = np.arange(count, dtype=float)
    return (mean + deviation * (values - values.mean()) / values.std(ddof=1)).tolist()


def test_one_block_a_round_gives_a_one_sample_t_interval_of_logarithms():
    logs = [0.11, 0.05, 0.09]
    low, high = scipy_stats.t.interval(0.95, 2, loc=np.mean(logs), scale=scipy_stats.sem(logs))
    expected = pytest.approx(np.exp([np.mean(logs), low, high]))
    assert paired_ratio([[value] for value in logs]) == expected
    assert paired_ratio([[0.10, 0.12], [0.05], [0.08, 0.10, 0.09]]) == expected
    assert paired_ratio([[0.1, 0.2]]) is None
    assert paired_ratio([]) is None


def test_rounds_that_are_alike_by_chance_are_not_known_better_than_their_blocks():
    rounds = [blocks_with(*each) for each in TWINS]
    means = [[mean] for mean, _, _ in TWINS]
    assert stats.find(paired_ratio(means)) == "FASTER"
    assert stats.find(paired_ratio(rounds)) == "UNDECIDED"


def test_the_spread_of_blocks_gives_an_interval_by_welch_and_satterthwaite():
    """The third round has no spread; so only those of the first two count."""
    one, other, third = [0.0, 0.1, 0.2], [0.3, 0.1, -0.1, 0.1], [0.1, 0.1]
    found = paired_ratio([one, other, third])
    # The sum of two means has the same standard error as their difference.
    welch = scipy_stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert math.log(found.high / found.low) == pytest.approx((welch.high - welch.low) / 3)


def test_a_wide_spread_between_rounds_stays():
    rounds = [[0.1, 0.11], [0.3, 0.31], [0.2, 0.21]]
    assert paired_ratio(rounds) == pytest.approx(paired_ratio([[0.105], [0.305], [0.205]]))


@pytest.mark.parametrize("processes", [5, 6, 8, 12])
def test_paired_ratio_has_nominal_coverage_under_drift(processes):
    """The speed of the machine is a random walk over blocks; the common part cancels."""
    draw = np.random.default_rng(processes)
    blocks, truth = 5, 1.07
    walk = np.cumsum(draw.normal(0, 0.04, (RUNS, processes * blocks * 2)), axis=1)
    walk = walk.reshape(RUNS, processes, blocks, 2)
    turned = walk.copy()
    turned[:, :, 1::2] = walk[:, :, 1::2, ::-1]  # the order reverses each turn
    effect = draw.normal(0, PROCESS_SPREAD, (RUNS, processes, 1, 2))
    noise = draw.normal(0, 0.03, walk.shape)
    logs = turned + effect + noise
    ratios = logs[..., 1] - logs[..., 0] + math.log(truth)
    found = [paired_ratio(run) for run in ratios.tolist()]
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.99


@pytest.mark.parametrize("between", [0.0, 0.02, 0.05])
def test_runs_differ_by_the_f_test_of_the_one_way_analysis(between):
    draw, differed = np.random.default_rng(1), []
    for _ in range(50):
        counts = draw.integers(2, 6, size=4)
        runs = [draw.normal(draw.normal(0, between), 0.02, count).tolist() for count in counts]
        expected = scipy_stats.f_oneway(*runs).pvalue < 0.05
        assert (ratio_of_runs(runs) is not None) == expected
        differed.append(expected)
    assert (np.mean(differed) < 0.2) == (between == 0)


def test_two_runs_and_runs_of_one_round_cannot_tell_whether_runs_differ():
    assert ratio_of_runs([[0.1, 0.11], [0.5, 0.51]]) is None
    assert ratio_of_runs([[0.1], [0.5], [0.9]]) is None
    assert ratio_of_runs([[0.1, 0.1], [0.1, 0.1], [0.1, 0.1]]) is None


def test_an_interval_holds_the_ratio_where_runs_differ():
    """Four runs of five rounds: 5 % between runs, 1 % between rounds; the truth is a ratio of 1."""
    draw = np.random.default_rng(2)
    effect = draw.normal(0, 0.05, (500, 4, 1))
    logs = effect + draw.normal(0, 0.01, (500, 4, 5))
    plain = [paired_ratio([[value] for value in run.ravel().tolist()]) for run in logs]
    wider = [ratio_of_runs(run.tolist()) for run in logs]
    held = [low <= 1 <= high for _, low, high in plain]
    outer = [stats.outer(one, other or one) for one, other in zip(plain, wider, strict=True)]
    assert np.mean(held) < 0.7
    assert np.mean([low <= 1 <= high for _, low, high in outer]) > 0.92

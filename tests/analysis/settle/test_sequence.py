"""The interval of a ratio holds at all looks together, also if one stops at the best of them."""

import itertools
import math
import random

import numpy as np
import pytest
from support.noise_models import MODELS, process

from bench.analysis import stats
from bench.analysis.settle import sequence

LOOKS = 30
TRIALS = 500


def misses(noise, quantile, fewest):
    """The share of series of log-ratios whose interval misses the true mean, 0, at any look."""
    draw = random.Random(noise.name)
    sides = [process(noise, draw)[0] for _ in range(2 * TRIALS * LOOKS)]
    logs = np.diff(np.reshape(sides, (TRIALS, LOOKS, 2)))[..., 0]
    counts = np.arange(1, LOOKS + 1)
    means = logs.cumsum(axis=1) / counts
    sums = np.maximum((logs**2).cumsum(axis=1) - counts * means**2, 0.0)
    looks = counts[fewest - 1 :]
    half = np.array([quantile(n) for n in looks]) * np.sqrt(
        sums[:, looks - 1] / (looks - 1) / looks
    )
    return float((abs(means[:, looks - 1]) > half).any(axis=1).mean())


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name.partition(":")[0])
def test_at_most_one_in_twenty_is_missed_at_any_look(noise):
    assert misses(noise, sequence.quantile, sequence.FEWEST) <= 0.05


def test_a_t_interval_that_is_looked_at_after_each_round_misses_far_more():
    assert misses(MODELS[0], lambda count: stats.t_quantile(count - 1), 2) > 0.2


def test_the_factor_solves_the_equation_of_the_likelihood_ratio():
    for count in (3, 7, 40):
        t_squared, freedom = sequence.quantile(count) ** 2, count - 1
        spread = 1 + count * sequence.EFFECT**2
        odds = (1 + t_squared / freedom) / (1 + t_squared / (freedom * spread))
        assert odds ** (count / 2) / math.sqrt(spread) == pytest.approx(20)


def test_the_factor_falls_and_stays_above_that_of_one_look():
    factors = [sequence.quantile(count) for count in range(sequence.FEWEST, 200)]
    assert factors[0] < math.inf
    assert all(later < factor for factor, later in itertools.pairwise(factors[:30]))
    assert all(f > stats.t_quantile(n - 1) for n, f in enumerate(factors, sequence.FEWEST))


def test_the_ratio_is_the_mean_of_the_rounds():
    found = sequence.ratio([math.log(1.1), math.log(1.2), math.log(1.3)])
    assert found.point == pytest.approx((1.1 * 1.2 * 1.3) ** (1 / 3))
    assert found.low < 1.1
    assert found.high > 1.3


@pytest.mark.parametrize("logs", [[], [0.1], [0.1, 0.2], [400.0, -400.0, 900.0]])
def test_there_is_no_interval_for_few_rounds_and_beyond_numbers(logs):
    assert sequence.ratio(logs) is None

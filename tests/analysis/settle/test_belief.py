"""What further rounds are expected to show."""

import math
import random
import statistics

import pytest

from bench.analysis.settle import sequence
from bench.analysis.settle.belief import (
    HORIZONS,
    PRIOR_FREEDOM,
    USUAL_SPREAD,
    Belief,
    chance,
    rate,
    rounds_needed,
)

MARGIN = 0.02


def test_without_rounds_the_spread_is_the_usual_one():
    assert Belief.of([], 0.3) == (0, 0.3, pytest.approx(USUAL_SPREAD))
    assert Belief.of([0.1], 0.3) == (1, 0.1, pytest.approx(USUAL_SPREAD))


def test_the_spread_approaches_that_of_the_rounds():
    logs = [0.01, -0.01] * 50
    assert Belief.of(logs, 0.0).spread == pytest.approx(statistics.stdev(logs), rel=0.25)


def test_the_chance_is_that_of_simulated_rounds():
    belief = Belief(6, 0.06, 0.04)
    draw, more, answered = random.Random(1), 4, 0
    freedom = PRIOR_FREEDOM + belief.rounds - 1
    reach = sequence.quantile(10) * belief.spread / math.sqrt(10)
    for _ in range(4000):
        scale = math.sqrt(freedom / sum(draw.gauss(0, 1) ** 2 for _ in range(freedom)))
        truth = draw.gauss(belief.mean, belief.spread * scale / math.sqrt(belief.rounds))
        later = draw.gauss(truth, belief.spread * scale / math.sqrt(more))
        mean = (belief.rounds * belief.mean + more * later) / (belief.rounds + more)
        answered += abs(mean) - reach > math.log(1 + MARGIN)
    assert chance(belief, more, MARGIN) == pytest.approx(answered / 4000, abs=0.03)


def test_no_round_answers_before_the_interval_has_an_end():
    belief = Belief(0, 1.0, 0.05)
    assert [chance(belief, more, MARGIN) > 0 for more in (1, 2, 3)] == [False, False, True]


def test_the_rate_is_the_best_over_all_horizons():
    belief = Belief(5, 0.05, 0.04)
    every = [chance(belief, more, MARGIN) / more for more in HORIZONS]
    assert rate(belief, MARGIN) == max(every)
    assert rate(Belief(5, 0.2, 0.04), MARGIN) > rate(belief, MARGIN)


def test_a_pair_at_the_margin_needs_more_rounds_than_we_look_ahead():
    assert rounds_needed(Belief(40, math.log(1 + MARGIN), 0.04), MARGIN) is None
    assert rounds_needed(Belief(40, 0.2, 0.04), MARGIN) == 1

"""How long a round is timed: by the noise within rounds, that between them, and what both cost."""

import itertools
import math
import random

import pytest
from support.records import measurement

from bench.analysis.settle.timed import LONGEST, best_timed_s
from bench.records import Case, Stages

CASES = Case("resnet50", "plain"), Case("swin_t", "plain")
CALL_S, CALLS, BLOCKS = 0.05, 5, 4
BLOCK_S = CALLS * CALL_S
TIMED_S = BLOCKS * BLOCK_S  # the usual seconds, and those on record
PER_SECOND = 1.2  # a call more for each five
SHARE_S = 2.0


def rounds(count, between=0.0, within=0.0, overhead_s=4.0, blocks=BLOCKS):
    """Rounds of two cases. `between`, `within`: standard deviations of the log of a block."""
    draw = random.Random(0)
    found = ([], [])
    for number in range(1, count + 1):
        for case, records in zip(CASES, found, strict=True):
            own = draw.gauss(0, between)
            logs = [own + draw.gauss(0, within) for _ in range(blocks)]
            samples = [CALL_S * math.exp(log) for log in logs for _ in range(CALLS)]
            stages = Stages(build=overhead_s, timed=PER_SECOND * sum(samples))
            records.append(
                measurement(
                    case,
                    number,
                    samples_s=samples,
                    block_sizes=[CALLS] * blocks,
                    block_starts_s=list(itertools.accumulate([1.0] * blocks)),
                    sitting=number,
                    stages_s=stages,
                    share_s=SHARE_S,
                )
            )
    return found


def best(*pairs):
    return best_timed_s(pairs, TIMED_S, BLOCK_S)


@pytest.mark.parametrize("overhead_s", [0.0, 4.0])
def test_it_is_the_optimum_of_two_stages(overhead_s):
    found = best(rounds(400, between=0.02, within=0.06, overhead_s=overhead_s))
    ratio = (0.06**2 / BLOCKS) / 0.02**2
    wanted = math.sqrt((SHARE_S + overhead_s) * TIMED_S / PER_SECOND * ratio)
    assert 1.2 < wanted < LONGEST
    assert found == pytest.approx(wanted, rel=0.15)


def test_noise_between_rounds_is_averaged_by_more_rounds_alone():
    assert best(rounds(50, between=0.05, within=0.001)) == TIMED_S


def test_noise_within_rounds_is_averaged_by_longer_rounds():
    assert best(rounds(50, within=0.05)) == pytest.approx(LONGEST * TIMED_S, rel=0.5)
    assert best(rounds(3, within=0.05, blocks=20)) <= LONGEST * TIMED_S


def test_without_noise_the_usual_seconds_are_best():
    assert best(rounds(5)) == TIMED_S


def test_too_few_rounds_or_blocks_tell_nothing():
    assert best() == TIMED_S
    assert best(rounds(2, within=0.05)) == TIMED_S
    assert best(rounds(5, within=0.05, blocks=1)) == TIMED_S
    assert best(rounds(5, within=0.05), rounds(5, within=0.05, blocks=1)) > TIMED_S

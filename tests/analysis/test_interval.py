"""The intervals of latencies and ratios hold the truth under six models of noise."""

import math
import random
import statistics
from pathlib import Path

import msgspec
import pytest
from support.noise_models import (
    LOOKED,
    MODELS,
    PROCESSES,
    Looks,
    coverage,
    looks,
    ratios,
)
from support.records import CASE, measurement, processes, rounds

from bench.analysis import interval, kinds, stats

PAGE = Path(__file__).parents[2] / "docs" / "method.md"
LEAST = 0.90
FEW = ((0, 70.0), (0, 70.7), (0, 69.3), (0, 70.0))  # processes with few page faults
TRIALS = 80  # of latencies
FEWER = 30  # of ratios, which take longer
MOST_LOST = 0.04  # coverage that the looks of the stopping rule may cost


def on_page(noise, table):
    """The shares of a model in the n-th table of the page."""
    lines = [each for each in PAGE.read_text().splitlines() if f"| {noise.name} |" in each]
    cells = lines[table].split("|")[2:-1]
    return [tuple(int(part) / 100 for part in cell.split("/")) for cell in cells]


def agree(found, shown, trials):
    """Whether each share is that of the page, as far as so many trials tell."""
    return all(
        abs(share - known) <= 4 * math.sqrt(max(known * (1 - known), 0.01) / trials)
        for share, known in zip(found, shown, strict=True)
    )


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_the_coverage_of_latencies_is_that_of_the_page(noise):
    for most, shown in zip(PROCESSES, on_page(noise, 0), strict=True):
        assert shown[0] >= LEAST
        assert agree(coverage(noise, most, TRIALS), shown, TRIALS)


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_the_coverage_of_ratios_is_that_of_the_page(noise):
    for most, shown in zip(PROCESSES, on_page(noise, 1), strict=True):
        ours, *_, alarms = shown
        assert ours >= LEAST
        assert alarms <= 0.05
        assert agree(ratios(noise, most, FEWER), shown, FEWER)


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_looking_after_each_round_costs_little_coverage(noise):
    shown = [Looks(*each) for each in on_page(noise, 2)]
    for each in shown:
        assert each.stopped >= LEAST
        assert each.stopped >= each.fixed - MOST_LOST
    assert agree(looks(noise, LOOKED[0], FEWER), shown[0], FEWER)


def test_the_plain_interval_misses_a_rare_kind_and_the_drift_of_the_machine():
    for noise in MODELS[-2:]:
        assert max(plain for _, _, plain in on_page(noise, 0)) < 0.8


def test_processes_of_one_kind_on_a_steady_machine_have_the_plain_interval():
    found = processes(
        (0, 70.0), (2, 71.0), (1, 69.0), block_compute_s=[1e-3], block_memory_s=[1e-3]
    )
    assert interval.interval(found) == pytest.approx(stats.latency([r.samples_s for r in found]))


def test_kinds_begin_where_page_faults_jump():
    found = kinds.kinds(processes((4419, 96.6), (1, 87.6), (2022, 86.6), (3076, 98.0), (30726, 99)))
    assert [(kind.fewest, kind.most, len(kind.medians_s)) for kind in found] == [
        (1, 1, 1),
        (2022, 4419, 3),
        (30726, 30726, 1),
    ]
    assert kinds.kinds_text(found) == (
        "1 with 1 (87.6 ms), 3 with 2,022 to 4,419 (93.7 ms), 1 with 30,726 (99 ms)"
    )


def test_few_page_faults_make_no_kind():
    assert len(kinds.kinds(processes((0, 70.0), (600, 70.0)))) == 1
    assert len(kinds.kinds(processes((0, 70.0), (800, 70.0)))) == 2


def test_processes_without_page_faults_on_record_are_one_kind():
    (kind,) = kinds.kinds(processes((0, 70.0), (None, 70.0), (9000, 80.0)))
    assert (kind.fewest, kind.most, len(kind.medians_s)) == (None, None, 3)
    assert kinds.kinds(rounds("resnet50", latencies_ms=(10, 11)))[0].medians_s


def test_the_interval_holds_the_mixtures_that_the_numbers_of_the_kinds_allow():
    found = interval.interval(processes(*FEW, (4700, 80.0)))
    assert found is not None
    assert found.point == pytest.approx(0.072)
    assert 69 < 1e3 * found.low < 72
    assert 76 < 1e3 * found.high < 80  # one of five may stand for 62 % of all
    many = interval.interval(processes(*FEW * 7, (4700, 80.0)))
    assert many is not None
    assert many.half_width < 0.02


@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(1, 4, 0.0456, 0.6994), (1, 30, 0.0059, 0.1667)]
)
def test_the_share_of_a_kind_has_wilsons_interval(count, total, low, high):
    found = stats.share(count, total)
    assert found == pytest.approx((count / total, low, high), abs=1e-4)
    others = stats.share(total - count, total)
    assert others == pytest.approx((1 - count / total, 1 - high, 1 - low), abs=1e-4)


def test_a_mixture_takes_as_much_of_each_kind_as_its_number_allows():
    ranges = [kinds.Range(3, 1.0, 1.1), kinds.Range(1, 2.0, 2.5)]
    _, least, most = stats.share(1, 4)
    assert kinds.of_mixture(ranges) == pytest.approx(
        (1 + least * (2.0 - 1.0), 1.1 + most * (2.5 - 1.1))
    )
    assert kinds.of_mixture([kinds.Range(5, 1.0, 2.0)]) == pytest.approx((1.0, 2.0))
    three = [kinds.Range(2, 1.0, 1.0), kinds.Range(2, 2.0, 2.0), kinds.Range(2, 3.0, 3.0)]
    low, high = kinds.of_mixture(three)
    assert 1.3 < low < 2 < high < 2.7
    assert low + high == pytest.approx(4)


def test_few_processes_of_several_kinds_have_the_interval_of_all_processes():
    few = processes(*FEW[1:], (4700, 80.0))
    found = interval.interval(few)
    assert found == pytest.approx(stats.latency([each.samples_s for each in few]))
    assert 1e3 * found.low < 70 < 80 < 1e3 * found.high
    assert interval.interval(processes((0, 70.0))) is None


def test_a_jump_in_page_faults_without_one_in_time_keeps_a_narrow_interval():
    found = interval.interval(processes((0, 70.0), (0, 70.1), (4700, 69.9), (9900, 70.0)))
    assert found is not None
    assert found.half_width < 0.005


def test_a_drift_that_explains_all_of_the_spread_makes_the_processes_one():
    steady = {"block_memory_s": [1e-3]}
    ways = [
        [
            msgspec.structs.replace(each, block_compute_s=[kernel_s], **steady)
            for each, kernel_s in zip(processes(*FEW), kernels, strict=True)
        ]
        for kernels in ([1e-3] * 4, [1e-3, 2e-3, 3e-3, 4e-3])
    ]
    plain, wide = map(interval.interval, ways)
    assert plain is not None
    assert wide is not None
    assert math.log(wide.high / wide.point) == pytest.approx(
        math.sqrt(1 + interval.MOST_DRIFT**2 * len(FEW)) * math.log(plain.high / plain.point)
    )


def of_processes(random_, count, within, drift=0.0):
    """Rounds with log-normal processes of 200 iterations each; kernels show the drift."""
    for number in range(1, count + 1):
        common = random_.gauss(0, drift)
        centre = math.log(0.01) + random_.gauss(0, within) + common
        samples = [math.exp(random_.gauss(centre, 0.05)) for _ in range(200)]
        kernel = [1e-3 * math.exp(common)]
        kernels = {"block_compute_s": kernel, "block_memory_s": kernel} if drift else {}
        yield measurement(CASE, number, samples_s=samples, **kernels)


@pytest.mark.parametrize("share", [0.9, 0.95])
def test_the_interval_of_a_percentile_covers_that_of_all_processes(share):
    """The truth is the percentile of the mixture, exp(m + z * sqrt(s² + 0.05²))."""
    random_ = random.Random(3)
    within, trials, held = 0.03, 200, 0
    spread = math.sqrt(within**2 + 0.05**2)
    truth = 0.01 * math.exp(statistics.NormalDist().inv_cdf(share) * spread)
    for _ in range(trials):
        found = interval.of_percentile(list(of_processes(random_, 6, within)), share)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / trials <= 0.99


def test_the_rounds_that_would_tell_are_the_fewest_whose_interval_leaves_the_bound():
    random_ = random.Random(5)
    told = 0
    for _ in range(60):
        rounds_ = list(of_processes(random_, 4, 0.03))
        found = interval.interval(rounds_)
        bound = found.point * 1.02
        if found.high < bound:
            continue
        more = interval.more_rounds(rounds_, bound)
        logs = [math.log(statistics.median(record.samples_s)) for record in rounds_]
        spread = math.sqrt(statistics.pvariance(logs) * 4 / 3)
        halves = [
            stats.t_quantile(count - 1) * spread / math.sqrt(count)
            for count in (3 + more, 4 + more)
        ]
        assert halves[1] < math.log(bound / found.point)
        assert more == 1 or halves[0] >= math.log(bound / found.point)
        told += 1
    assert told > 20


def test_the_rounds_that_would_tell_know_the_kinds_of_processes():
    """One process of a slow kind: the interval holds its share, which few more rounds narrow."""
    mixed = processes(*FEW, *FEW, (9000, 120.0), block_compute_s=[1e-3], block_memory_s=[1e-3])
    found = interval.interval(mixed)
    bound = found.high * 0.9
    more = interval.more_rounds(mixed, bound)
    assert more is None or more > len(mixed)
    doubled = interval.interval([*mixed, *mixed])
    assert doubled.high > bound


def test_where_the_drift_exceeds_the_distance_no_number_of_rounds_tells():
    rounds_ = list(of_processes(random.Random(1), 5, 0.0, drift=0.05))
    found = interval.interval(rounds_)
    assert interval.more_rounds(rounds_, found.point * 1.01) is None
    assert interval.more_rounds(rounds_, found.point * 3) == 1


def test_two_processes_have_no_interval_of_a_percentile():
    assert interval.of_percentile(list(of_processes(random.Random(1), 2, 0.03)), 0.9) is None

"""The interval of a latency holds the truth under six models of noise; kinds of processes."""

import math
from pathlib import Path

import msgspec
import pytest
from support.noise_models import MODELS, PROCESSES, Coverage, coverage
from support.records import CASE, measurement, rounds

from bench.analysis import interval, stats
from bench.records import Conditions

PAGE = Path(__file__).parents[2] / "docs" / "method.md"
LEAST = 0.90
FEW = ((0, 70.0), (0, 70.7), (0, 69.3), (0, 70.0))  # processes with few page faults
TRIALS = 120


def processes(*pairs, **changes):
    """Rounds with (page faults a call, milliseconds)."""
    return [
        measurement(
            CASE,
            number,
            samples_s=[ms / 1e3] * 4,
            conditions=Conditions(page_faults=None if faults is None else 4 * faults),
            **changes,
        )
        for number, (faults, ms) in enumerate(pairs, 1)
    ]


def on_page(noise):
    """The coverages of a model in the table of the page."""
    (line,) = [each for each in PAGE.read_text().splitlines() if f"| {noise.name} |" in each]
    cells = line.split("|")[2:-1]
    return [Coverage(*(int(part) / 100 for part in cell.split("/"))) for cell in cells]


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_the_coverage_is_that_of_the_page(noise):
    for most, shown in zip(PROCESSES, on_page(noise), strict=True):
        assert shown.ours >= LEAST
        for share, known in zip(coverage(noise, most, TRIALS), shown, strict=True):
            assert abs(share - known) <= 4 * math.sqrt(max(known * (1 - known), 0.01) / TRIALS)


def test_the_plain_interval_misses_a_rare_kind_and_the_drift_of_the_machine():
    for noise in MODELS[-2:]:
        assert max(each.plain for each in on_page(noise)) < 0.75


def test_processes_of_one_kind_on_a_steady_machine_have_the_plain_interval():
    found = processes(
        (0, 70.0), (2, 71.0), (1, 69.0), block_compute_s=[1e-3], block_memory_s=[1e-3]
    )
    assert interval.interval(found) == pytest.approx(stats.latency([r.samples_s for r in found]))


def test_kinds_begin_where_page_faults_jump():
    found = interval.kinds(
        processes((4419, 96.6), (1, 87.6), (2022, 86.6), (3076, 98.0), (30726, 99))
    )
    assert [(kind.fewest, kind.most, len(kind.medians_s)) for kind in found] == [
        (1, 1, 1),
        (2022, 4419, 3),
        (30726, 30726, 1),
    ]
    assert interval.kinds_text(found) == (
        "1 with 1 (87.6 ms), 3 with 2,022 to 4,419 (93.7 ms), 1 with 30,726 (99 ms)"
    )


def test_few_page_faults_make_no_kind():
    assert len(interval.kinds(processes((0, 70.0), (600, 70.0)))) == 1
    assert len(interval.kinds(processes((0, 70.0), (800, 70.0)))) == 2


def test_processes_without_page_faults_on_record_are_one_kind():
    (kind,) = interval.kinds(processes((0, 70.0), (None, 70.0), (9000, 80.0)))
    assert (kind.fewest, kind.most, len(kind.medians_s)) == (None, None, 3)
    assert interval.kinds(rounds("resnet50", latencies_ms=(10, 11)))[0].medians_s


def test_the_interval_holds_every_kind_that_was_met():
    found = interval.interval(processes(*FEW, (4700, 80.0)))
    assert found is not None
    assert 1e3 * found.low < 70 < 80 < 1e3 * found.high
    assert found.point == pytest.approx(0.072)


def test_few_processes_of_several_kinds_have_no_interval():
    assert interval.interval(processes(*FEW[1:], (4700, 80.0))) is None
    assert interval.interval(processes(*FEW[1:])) is not None
    assert interval.interval(processes((0, 70.0))) is None


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

"""Scenarios against the tight loop: pairs whose order differs, and the course of a long run."""

import msgspec
import pytest
from support.records import OBSERVED, rounds

from bench.analysis import in_use, rows
from bench.analysis.in_use import Arrivals, Orders
from bench.records import Level


def rested(model, ms, scenario="rest-1s", **changes):
    given = [ms * factor for factor in (0.999, 1.0, 1.001)]
    return rounds(
        model, latencies_ms=given, last="rounds", scenario=scenario, **OBSERVED, **changes
    )


def lines_of(*groups):
    every = rows.of([record for group in groups for record in group])
    used = [row for row in every if not row.case.is_tight]
    return in_use.with_tight(used, [row for row in every if row.case.is_tight])


def test_a_pair_whose_order_differs_is_found():
    lines = lines_of(
        rested("resnet50", 10, "tight"),
        rested("swin_t", 12, "tight"),
        rested("resnet50", 20),
        rested("swin_t", 15),
    )
    (found,) = in_use.orders(lines)
    assert (found.scenario, found.pairs, found.decided) == ("rest-1s", 1, 1)
    ((first, second),) = found.flips
    assert {first.case.model, second.case.model} == {"resnet50", "swin_t"}
    title = {in_use.tight(line.row.case): line.row.case.model for line in lines}
    assert in_use.of_order(found, title) == (
        "in 1 of 1 pair (1 decided in both), another one is faster than in the tight loop: swin_t, "
        "not resnet50."
    )


def test_a_pair_that_is_undecided_in_one_loop_is_no_flip():
    lines = lines_of(
        rested("resnet50", 10, "tight"),
        rested("swin_t", 10, "tight"),
        rested("resnet50", 20),
        rested("swin_t", 15),
    )
    assert in_use.orders(lines) == [Orders("rest-1s", 1, 0, [])]


def test_networks_of_other_settings_and_rows_without_a_tight_loop_are_no_pair():
    lines = lines_of(
        rested("resnet50", 10, "tight"),
        rested("swin_t", 12, "tight", batch=2),
        rested("resnet50", 20),
        rested("swin_t", 15, batch=2),
        rested("convnext_t", 15),
    )
    assert [each.pairs for each in in_use.orders(lines)] == [0]
    assert [line.ratio for line in lines if line.row.case.model == "convnext_t"] == [None]


def test_the_ratio_to_the_tight_loop():
    (line,) = lines_of(rested("resnet50", 10, "tight"), rested("resnet50", 20))
    assert line.ratio.point == pytest.approx(2.0, rel=0.01)


def test_a_start_has_no_ratio_since_it_took_no_turns():
    (line,) = lines_of(rested("resnet50", 10, "tight"), rested("resnet50", 20, "cold"))
    assert line.ratio is None


def sustained(*blocks_ms, levels=()):
    """Three rounds of as many blocks of two samples each."""
    samples = [ms / 1e3 for ms in blocks_ms for _ in range(2)]
    sizes = [2] * len(blocks_ms)
    starts = [float(place) for place in range(len(blocks_ms))]
    kernels = [1e-3] * len(blocks_ms)
    return [
        msgspec.structs.replace(
            each,
            samples_s=[s * factor for s in samples],
            block_sizes=sizes,
            block_starts_s=starts,
            block_compute_s=kernels,
            block_memory_s=kernels,
            block_levels=list(levels),
        )
        for each, factor in zip(
            rested("resnet50", 10, "sustained-600s"), (0.99, 1.0, 1.01), strict=True
        )
    ]


def test_the_course_is_the_last_tenth_against_the_first():
    levels = [
        Level(clock_hz=1e9, temperature_c=40.0, energy_j=100.0),
        Level(clock_hz=9e8, temperature_c=70.0, energy_j=101.0),
        Level(clock_hz=8e8, temperature_c=80.0, energy_j=103.0),
    ]
    (row,) = rows.of(sustained(10, 11, 12, levels=levels))
    found = in_use.course(row)
    assert found.point == pytest.approx(1.2)
    assert found.ratio.point == pytest.approx(1.2)
    assert (found.first.temperature_c, found.last.temperature_c) == (40.0, 80.0)
    assert found.energy_j == pytest.approx(3 * 3.0 / (3 * 4))


def test_a_tenth_is_one_of_the_time_however_slow_its_calls_are():
    (row,) = rows.of(sustained(*[10] * 30, *[100] * 3))  # 600 ms, then 600 ms
    found = in_use.course(row)
    assert (found.first_s, found.last_s) == pytest.approx((0.010, 0.100), rel=1e-3)
    (row,) = rows.of(sustained(10, 10, *[100] * 6))  # 40 ms, then 1200 ms: both in the first 124 ms
    assert in_use.course(row).first_s == pytest.approx(0.010, rel=1e-3)
    (row,) = rows.of(sustained(10, *[100] * 12))  # of the first 242 ms, most calls take 100 ms
    assert in_use.course(row).first_s == pytest.approx(0.100, rel=1e-3)


def test_a_chip_without_sensors_has_no_energy():
    (row,) = rows.of(sustained(10, 11, 12))
    found = in_use.course(row)
    assert (found.first, found.energy_j) == (None, None)


def test_a_round_of_one_block_has_no_course():
    (row,) = rows.of(sustained(10))
    assert in_use.course(row) is None


def test_parts_are_means_of_the_medians_of_processes():
    made = [
        msgspec.structs.replace(each, parts_s={"load": [seconds] * len(each.samples_s)})
        for each, seconds in zip(rested("resnet50", 10, "cold"), (1.0, 2.0, 6.0), strict=True)
    ]
    assert in_use.parts(made) == {"load": 3.0}


def test_images_that_came_are_counted_over_all_rounds():
    made = [msgspec.structs.replace(each, late=1, dropped=2) for each in rested("resnet50", 10)]
    assert in_use.arrivals(made) == Arrivals(sum(len(r.samples_s) for r in made), 3, 6)

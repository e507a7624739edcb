"""Curves over the batch size: by hand, and searched over networks whose latency is known."""

import itertools
import math

import pytest
from support.records import OBSERVED, TAKEN, failure, rounds

from bench.analysis import rows
from bench.analysis.batch_curve import (
    crossovers,
    curves,
    next_batch,
    of_crossover,
    of_curve,
)
from bench.records import Case

SPREAD = (0.99, 1.0, 1.01)


def at(model, batch, ms, spread=SPREAD):
    return rounds(model, latencies_ms=[ms * factor for factor in spread], batch=batch, **OBSERVED)


def found(latencies, **changes):
    """The curves of networks by their latency in ms at each batch size: `{name: {1: 2.0, …}}`."""
    records = [
        record
        for model, by_batch in latencies.items()
        for batch, ms in by_batch.items()
        for record in at(model, batch, ms, **changes)
    ]
    return curves(rows.unranked(records))


def linear(fixed_ms, each_ms, sizes=(1, 2, 4, 8, 16, 32, 64)):
    return {size: fixed_ms + each_ms * size for size in sizes}


def test_a_curve_has_a_knee_and_what_bounds_it():
    (curve,) = found({"resnet50": linear(20.0, 1.0, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))})
    throughput = {spot.batch: spot.throughput for spot in curve.spots}
    assert throughput[1] == pytest.approx(1000 / 21)
    assert curve.highest.batch == 512
    assert curve.launch_bound_to == 16  # log2(36 / 28) = 0.36, then log2(52 / 36) = 0.53
    assert curve.compute_bound_from == 512  # log2(532 / 276) = 0.95, and 0.899 before
    assert curve.knee is None
    assert of_curve(curve).startswith("ResNet50: highest throughput 962 img/s at batch 512, and it")


def test_a_flat_curve_has_its_knee_with_an_interval():
    sizes = (1, 2, 4, 8, 16, 32)
    flat = {size: max(10.0, 1.25 * size) for size in sizes}
    (curve,) = found({"resnet50": flat}, spread=(0.93, 1.0, 1.07))
    assert curve.is_flat
    knee = curve.knee
    assert knee.point == 8
    assert knee.low <= 8 <= knee.high
    (narrow,) = found({"resnet50": flat}, spread=(0.999, 1.0, 1.001))
    assert narrow.knee == (8, 8, 8)


def test_where_memory_ends_the_curve_ends():
    records = [record for size in (1, 2, 4) for record in at("resnet50", size, 10.0 + size)]
    records.append(failure(Case("resnet50", "plain", batch=8, threads=2)))
    (curve,) = curves(rows.unranked(records))
    assert curve.failed_at == 8
    assert [spot.batch for spot in curve.spots] == [1, 2, 4]
    assert "failed at batch 8" in of_curve(curve)
    assert curve.knee is None  # it still rose
    assert next_batch([curve], [1, 2, 4, 8], 1, 64) is None


def test_one_network_overtakes_another():
    both = found({"resnet50": linear(2.0, 2.0), "swin_t": linear(16.0, 1.0)})
    (crossing,) = crossovers(both)
    assert (crossing.first.model, crossing.second.model) == ("resnet50", "swin_t")
    assert (crossing.before, crossing.after) == (8, 16)  # 2 + 2 b = 16 + b at b = 14
    assert 12 < crossing.point < 16
    assert of_crossover(crossing).startswith("Swin-T overtakes ResNet50 at batch")


def test_undecided_sizes_widen_a_crossover():
    both = found({"resnet50": linear(2.0, 2.0), "swin_t": linear(16.0, 1.0)})
    wide = found(
        {"resnet50": linear(2.0, 2.0), "swin_t": linear(16.0, 1.0)}, spread=(0.8, 1.0, 1.2)
    )
    assert crossovers(both)
    # all of one network slow down together with the other: the ratio is as exact as before
    assert crossovers(wide)[0].before == 8
    tied = found({"resnet50": linear(10.0, 1.0), "swin_t": linear(10.02, 1.0)})
    assert crossovers(tied) == []


def searched(latency_of, lowest, highest):
    """The sizes that a search visits, and the curves at its end."""
    visited = []
    while True:
        known = found(
            {model: {size: of(size) for size in visited} for model, of in latency_of.items()}
        )
        size = next_batch(known, visited, lowest, highest)
        if size is None or size in visited:
            return visited, known
        visited.append(size)


def test_a_search_doubles_until_all_are_flat_then_halves_the_gaps():
    nets = {
        "resnet50": lambda size: max(30.0, 1.5 * size),
        "swin_t": lambda size: 4.0 + 1.8 * size,
    }
    visited, known = searched(nets, 1, 1024)
    doubled = list(itertools.takewhile(lambda size: math.log2(size).is_integer(), visited))
    assert doubled[:5] == [1, 2, 4, 8, 16]
    assert doubled[-1] < 1024  # both are flat before
    (crossing,) = crossovers(known)
    truth = (30.0 - 4.0) / 1.8  # 14.4
    assert crossing.before <= truth <= crossing.after
    assert crossing.after / crossing.before <= 1.6
    assert len(visited) <= 20


def test_found_crossovers_hold_the_truth_and_agree_with_a_direct_comparison():
    """Lines fixed + each * size cross at most once, at a size that is known."""
    count = 0
    for seed in range(30):
        fixed, slope = 5.0 + seed, 1.1 + 0.03 * seed
        nets = {
            "resnet50": lambda size, slope=slope: 1.0 + slope * size,
            "swin_t": lambda size, fixed=fixed: fixed + size,
        }
        truth = (fixed - 1.0) / (slope - 1.0)
        visited, known = searched(nets, 1, 256)
        for crossing in crossovers(known):
            count += 1
            assert crossing.before <= truth <= crossing.after
            for size, faster in ((crossing.before, "resnet50"), (crossing.after, "swin_t")):
                assert min(nets, key=lambda name, size=size: nets[name](size)) == faster
        if 2 < truth < max(visited) / 2:
            assert crossovers(known)
    assert count > 20


def test_a_slow_rise_is_no_plateau():
    """Throughput grows by 19 % with each doubling, and single processes differ by 5 %."""
    nets = {"resnet50": lambda size: 10.0 * size**0.75}
    visited = []
    while True:
        known = found(
            {"resnet50": {s: nets["resnet50"](s) for s in visited}}, spread=(0.95, 1, 1.05)
        )
        size = next_batch(known, visited, 1, 128)
        if size is None:
            break
        visited.append(size)
    assert max(visited) == 128
    assert known[0].knee is None


def test_three_neighbouring_sizes_have_no_knee_and_nothing_that_bounds_them():
    (curve,) = found({"resnet50": linear(10.0, 1.0, (126, 127, 128))})
    assert curve.knee is None
    assert curve.elasticities == []


def test_invalid_sizes_do_not_count_and_are_named():
    sizes = {size: max(10.0, 2.5 * size) for size in (1, 2, 4, 8, 16)}
    records = [record for size, ms in sizes.items() for record in at("resnet50", size, ms)]
    busy = {**OBSERVED, "conditions": TAKEN}
    records += rounds("resnet50", latencies_ms=[20.0, 20.1, 20.2], batch=32, **busy)
    (curve,) = curves(rows.unranked(records))
    assert curve.highest.throughput == pytest.approx(400.0)
    assert curve.knee.point == 4
    assert curve.invalid == [32]
    assert of_curve(curve).endswith("INVALID at batch 32")


def test_curves_that_start_at_other_sizes_cross_as_well():
    one, other = linear(2.0, 2.0), linear(16.0, 1.0, (2, 4, 8, 16, 32, 64))
    (crossing,) = crossovers(found({"resnet50": one, "swin_t": other}))
    assert (crossing.before, crossing.after) == (8, 16)


def test_training_steps_have_curves_of_their_own():
    records = [
        record
        for size in (2, 4, 8)
        for workload, ms in (("infer", 1.0), ("train", 3.0))
        for record in rounds(
            "resnet50", latencies_ms=[ms * size] * 3, batch=size, workload=workload, **OBSERVED
        )
    ]
    made = curves(rows.unranked(records))
    assert [curve.case.workload for curve in made] == ["infer", "train"]
    assert crossovers(made) == []

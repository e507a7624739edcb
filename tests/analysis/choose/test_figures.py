"""Each quantity, by hand, and the reasons for none."""

import math

import msgspec
import pytest
from support.records import OBSERVED, TAKEN, rounds, timed

from bench.analysis import rows
from bench.analysis.choose.figures import QUANTITIES
from bench.records import Case, Cost, Failure, Stages, Telemetry


def figure(name, records, dataset="imagenet1k"):
    (row,) = rows.unranked(records)
    return QUANTITIES[name].of(row, dataset)


def test_a_latency_has_the_interval_of_its_processes():
    found = figure("latency", rounds("resnet50", latencies_ms=[10.0, 10.2, 10.4], **OBSERVED))
    assert found.point == pytest.approx(0.0102)
    assert 0.009 < found.low < found.point < found.high < 0.0112


def test_two_processes_have_a_latency_within_a_factor():
    found = figure("latency", rounds("resnet50", latencies_ms=[10.0, 10.2]))
    assert found[:3] == pytest.approx((0.0101, 0.0101 / 2, 0.0101 * 2))
    assert found.is_rough


def test_a_percentile_needs_its_iterations():
    few = rounds("resnet50", latencies_ms=[10.0] * 3)
    assert figure("p95", few).missing == "9 iterations are too few for p95"
    spread = [1 + 0.001 * number for number in range(100)]
    many = rounds("resnet50", latencies_ms=[10.0, 10.2, 10.4], spread=spread)
    found = figure("p95", many)
    assert found.point == pytest.approx(0.0112, rel=0.01)
    assert 0.9 * found.point < found.low < found.point < found.high < 1.1 * found.point


def test_a_group_of_calls_has_no_percentile():
    found = figure("p90", rounds("resnet50", latencies_ms=[0.01] * 3, calls_per_sample=10))
    assert found.missing == "calls are too short to be timed one by one"


def test_memory_lies_between_that_of_its_processes():
    records = [
        timed("resnet50", round_number=number, cost=Cost(peak_memory_bytes=peak))
        for number, peak in enumerate([100, 120, 110], 1)
    ]
    assert figure("memory", records)[:3] == (120.0, 100.0, 120.0)
    assert figure("memory", [timed("resnet50")]).missing == "the peak memory is not on record"


def test_the_load_is_that_of_the_backend_and_the_first_call():
    records = [
        timed("resnet50", round_number=number, stages_s=Stages(build=9.0, load=load, first=0.5))
        for number, load in enumerate([1.0, 1.1, 1.2], 1)
    ]
    found = figure("load", records)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # t(0.975, 2)
    assert found[:3] == pytest.approx((1.6, 1.6 - half, 1.6 + half))


def telemetry(power_w, energy_j=None, **changes):
    return Telemetry(seconds=1.0, iterations=10, power_w=power_w, energy_j=energy_j, **changes)


def test_power_is_that_of_the_samples_of_the_steady_loop():
    found = figure("power", [timed("resnet50", telemetry=telemetry([10.0, 12.0, 14.0]))])
    half = 4.302652729911275 * 2.0 / math.sqrt(3)  # t(0.975, 2)
    assert found[:3] == pytest.approx((12.0, 12.0 - half, 12.0 + half))


def test_energy_is_as_uncertain_as_the_latency():
    first, *others = rounds("resnet50", latencies_ms=[10.0, 10.2, 10.4], batch=2, **OBSERVED)
    first = msgspec.structs.replace(first, telemetry=telemetry([10.0], 4.0))
    energy, latency = (figure(name, [first, *others]) for name in ("energy", "latency"))
    assert energy.point == pytest.approx(4.0 / (10 * 2))
    assert energy.low / energy.point == pytest.approx(latency.low / latency.point)
    assert energy.high / energy.point == pytest.approx(latency.high / latency.point)


def test_a_sensor_that_is_missing_gives_its_reason():
    seen = telemetry([], missing={"power_w": "no permission"})
    assert figure("power", [timed("resnet50", telemetry=seen)]).missing == "power_w: no permission"
    assert figure("energy", [timed("resnet50")]).missing == "this device has no sensor of energy"


def test_a_published_accuracy_is_exact_and_of_fp32():
    found = figure("top1", [timed("resnet50")])
    assert found.low == found.point == found.high
    assert found.source == "paper"
    other = figure("top1", [timed("resnet50", precision="int8")])
    assert other.missing == "its top-1 in int8 is not known; in fp32 it is 77.2 %"
    assert (other.low, other.high) == (0.0, found.point + 0.5)
    assert "no top-1 on cifar10" in figure("top1", [timed("resnet50")], "cifar10").missing


def test_a_failure_and_an_invalid_row_have_no_timed_figure_but_an_accuracy():
    case = Case("resnet50", "plain", threads=2)
    failed = Failure("run", case.case_id, case, "env", 1, "load", "OutOfMemory", "8 GiB")
    busy = msgspec.structs.replace(timed("resnet50", **OBSERVED), conditions=TAKEN)
    assert figure("latency", [failed]).missing == "failed at load: OutOfMemory"
    assert figure("latency", [busy]).missing.startswith("the verdict is INVALID")
    assert figure("top1", [failed]).point == figure("top1", [busy]).point is not None

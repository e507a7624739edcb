"""Quantities of claims other than ratios: spreads, counts, shares and utilisation."""

import math
import statistics

import msgspec
import pytest
from support.profiles import profile
from support.records import ENVIRONMENT, GPU, measurement
from support.results import device

from bench import paper
from bench.analysis.paired import paired_ratio
from bench.records import Case, Cost, Passport, ProfileRow, Utilisation, Waterfall
from bench.report.claims.evidence import Evidence, Place
from bench.report.claims.memory import Moved, Peak
from bench.report.claims.quantities import Count, Ratio, Same, Spread, Zeros
from bench.report.claims.shares import Gauge, Share

T = "repnext_u3_t"
TRAIN, RREP, SREP = (Place(T, form) for form in ("train", "rrep", "srep"))
NOTHING = Evidence({}, {})


def case(place):
    return Case(place.model, place.form, device="cuda", threads=8, resolution=place.resolution)


def evidence(*records):
    environment = msgspec.structs.replace(ENVIRONMENT, chip=GPU)
    return Evidence.of(device(records, environment=environment))


def series(mean, std, count=8):
    """Samples of this mean and standard deviation."""
    shape = [(-1.0) ** n for n in range(count)]
    unit = statistics.stdev(shape)
    return [mean + std * each / unit for each in shape]


def rounds_at(place, *samples, **changes):
    return [
        measurement(case(place), number, samples_s=each, stopped_by="precision", **changes)
        for number, each in enumerate(samples, 1)
    ]


def profile_at(place, number, *, used=None, run_id="r", **seconds):
    """10 ms, of which the categories of `seconds` take so much."""
    busy = sum(seconds.values())
    setting = {"device": "cuda", "threads": 8, "resolution": place.resolution}
    return profile(
        place.model,
        place.form,
        run_id=run_id,
        environment_id="env",
        round=number,
        rows=[ProfileRow("op", "m", c.replace("_", " "), 1, s) for c, s in seconds.items()],
        waterfall=Waterfall(0.010, busy, 0.010 - busy, 0.0, 0.0, 1e-4, 1e-4),
        utilisation=used or Utilisation(),
        **setting,
    )


def test_the_standard_deviation_may_fall_while_the_coefficient_of_variation_does_not():
    records = [
        *rounds_at(TRAIN, *(series(0.012, f * 0.0030) for f in (0.95, 1.0, 1.05))),
        *rounds_at(SREP, *(series(0.006, f * 0.0015) for f in (1.0, 1.0, 1.0))),
    ]
    std = Spread(TRAIN, SREP, relative=False).ours(evidence(*records))
    cv = Spread(TRAIN, SREP, relative=True).ours(evidence(*records))
    assert std.estimate.low > 1.5
    assert std.point == pytest.approx(2.0, rel=0.01)
    assert cv.estimate.low < 1 < cv.estimate.high
    assert (std.rounds, cv.rounds) == (3, 3)


def test_spreads_are_compared_with_equally_many_samples():
    drifting = [0.010 + 0.0001 * n for n in range(40)]
    records = [
        *rounds_at(TRAIN, drifting, drifting),
        *rounds_at(SREP, drifting[::4], drifting[::4]),
    ]
    assert Spread(TRAIN, SREP, relative=False).ours(evidence(*records)).point == 1.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([series(0.01, 0.001)], [series(0.01, 0.001)]),  # one process
        ([series(0.01, 0.001, 4)] * 3, [series(0.01, 0.001, 4)] * 3),  # four samples
        ([[0.01] * 8] * 3, [[0.01] * 8] * 3),  # which do not vary
    ],
)
def test_a_spread_that_has_no_interval(before, after):
    found = Spread(TRAIN, SREP, relative=False).ours(
        evidence(*rounds_at(TRAIN, *before), *rounds_at(SREP, *after))
    )
    assert found.estimate is None
    assert found.why == "too few processes that took turns"


def test_a_share_is_that_of_the_latency_with_an_interval_over_processes():
    made = [profile_at(TRAIN, n, addition=s) for n, s in ((1, 0.0010), (2, 0.0012), (3, 0.0011))]
    found = Share(TRAIN, "addition").ours(evidence(*made))
    shares = (0.10, 0.12, 0.11)
    assert found.estimate == pytest.approx(paired_ratio([[math.log(each)] for each in shares]))
    assert found.point == pytest.approx(statistics.geometric_mean(shares))
    assert 0.08 < found.estimate.low < 0.11 < found.estimate.high < 0.14
    far = [profile_at(TRAIN, n, addition=s) for n, s in ((1, 0.0001), (2, 0.0030), (3, 0.0005))]
    assert Share(TRAIN, "addition").ours(evidence(*far)).estimate.low > 0
    assert Share(TRAIN, "addition").ours(evidence(made[0])).estimate is None
    assert Share(TRAIN, "addition").ours(NOTHING).why == "no profile of RepNeXt-u3-T"


def test_the_share_of_branches_is_the_difference_to_the_merged_form():
    share = Share(TRAIN, "depthwise or group conv", without="rrep")
    made = [
        each
        for n in (1, 2, 3)
        for each in (
            profile_at(TRAIN, n, **{"depthwise or group conv": 0.0040 + n * 1e-5}),
            profile_at(RREP, n, **{"depthwise or group conv": 0.0030}),
        )
    ]
    assert share.ours(evidence(*made)).point == pytest.approx(0.102)
    apart = [msgspec.structs.replace(each, run_id=each.case.form) for each in made]
    assert share.ours(evidence(*apart)).estimate is None


def test_utilisation_is_that_of_a_gpu():
    gauge = Gauge(TRAIN, SREP, "sm_fill")
    made = [
        profile_at(place, n, used=Utilisation(busy=0.9, sm_fill=fill + n * 0.001))
        for place, fill in ((TRAIN, 0.2), (SREP, 0.4))
        for n in (1, 2, 3)
    ]
    found = gauge.ours(evidence(*made))
    assert found.point == pytest.approx(2.0, rel=0.02)
    assert found.estimate.low > 1.9
    none = gauge.ours(evidence(*(profile_at(p, n) for p in (TRAIN, SREP) for n in (1, 2))))
    assert (none.estimate, none.point) == (None, None)
    assert none.why == "its profiles have no utilisation of a GPU"


def test_zeros_are_counted_among_the_parameters_that_were_added():
    counts = {row.form: row.params for row in paper.counted() if row.model == T}
    added = counts["srep"] - counts["rrep"]
    passport = Passport(
        convolutions=58,
        normalisations=0,
        additions=0,
        concatenations=0,
        params_before=counts["train"],
        params_after=counts["srep"],
        macs_before=1,
        macs_after=1,
        zero_share=0.9 * added / counts["srep"],
        structure="s",
    )
    found = Zeros(T).ours(evidence(*rounds_at(SREP, [0.01] * 3, passport=passport)))
    assert found.point == pytest.approx(0.9)
    assert found.exact
    assert Zeros(T).ours(evidence(*rounds_at(SREP, [0.01] * 3))).why == "no zeros were counted"
    assert Zeros(T).ours(NOTHING).why == "RepNeXt-u3-T-sRep is not on record"


@pytest.mark.parametrize(("structure", "point"), [("same", 1.0), ("other", 0.0)])
def test_networks_are_the_same_by_their_structure(structure, point):
    other = Place("repnext_u1_t", "srep")
    records = [
        *rounds_at(SREP, [0.01] * 3, structure="same"),
        *rounds_at(other, [0.02] * 3, structure=structure),
    ]
    assert Same(other, SREP, 2).ours(evidence(*records)).point == point
    assert Same(other, SREP, 2).reported() == 1.0


def test_counts_need_no_device():
    counts = {row.form: row for row in paper.counted() if row.model == T}
    ratio = counts["rrep"].params / counts["srep"].params
    found = Count(T, "rrep", "srep", "params", 4)
    assert found.ours(NOTHING).estimate == (ratio, ratio, ratio)
    assert Count(T, "train", "srep", "params", 4).reported() == 29 / 52
    assert Count(T, "train", "srep", "macs", 4).reported() == 4.5 / 8.2
    assert Count(T, "train", "srep", "macs", 3).reported() == 0.37 / 0.67


def held(*peaks, reserved=1000):
    """The costs of processes that held so much beyond 100 bytes of weights."""
    return [
        Cost(weight_bytes=100, peak_memory_bytes=100 + peak, peak_reserved_bytes=reserved)
        for peak in peaks
    ]


def held_by(place, costs):
    return [
        measurement(case(place), number, samples_s=[0.01] * 3, cost=cost)
        for number, cost in enumerate(costs, 1)
    ]


def test_a_peak_excludes_weights_and_pairs_processes_that_took_turns():
    peak = Peak(T, "train", "rrep")
    made = [*held_by(TRAIN, held(300, 310, 300)), *held_by(RREP, held(200, 200, 200))]
    found = peak.ours(evidence(*made))
    assert found.point == pytest.approx(1.516, abs=0.001)
    assert 1.4 < found.estimate.low < found.point < found.estimate.high < 1.6
    assert (found.rounds, peak.name) == (3, "RepNeXt-u3-T / RepNeXt-u3-T-rRep")
    few = peak.ours(evidence(*made[:2], *made[3:5]))
    assert (few.estimate, few.why) == (None, "fewer than 3 processes have no interval")
    assert peak.ours(NOTHING).why.startswith("RepNeXt-u3-T is not on record")
    assert Peak(T, "train", "rrep", 128).ours(evidence(*made)).estimate is None


def test_a_peak_that_no_allocator_counted_is_not_used():
    costs = held(300, 300, reserved=None)
    found = Peak(T, "train", "rrep").ours(evidence(*held_by(TRAIN, costs), *held_by(RREP, costs)))
    assert (found.estimate, found.point) == (None, None)
    assert found.why == "no allocator counted it, as on a CPU"


def moving(place, moved, lacks=0):
    """A profile whose operators do all MACs of the network, but for what it `lacks`."""
    (counted,) = (row for row in paper.counted() if (row.model, row.form) == (T, place.form))
    row = ProfileRow(
        "op", "m", "other", 1, 0.001, counted.macs - lacks, moved + counted.weight_bytes
    )
    view = ProfileRow("view", "m", "dimension transform", 1, 0.001)
    return msgspec.structs.replace(profile_at(place, 1), rows=[row, view])


def test_bytes_moved_are_counted_with_the_weights_and_without():
    made = evidence(moving(RREP, 2200), moving(SREP, 2000))
    alone = Moved(T, "rrep", "srep", weights=False)
    assert alone.ours(made).estimate == (1.1, 1.1, 1.1)
    assert alone.ours(made).exact
    counts = {row.form: row.weight_bytes for row in paper.counted() if row.model == T}
    whole = Moved(T, "rrep", "srep", weights=True).ours(made)
    assert whole.point == (counts["rrep"] + 2200) / (counts["srep"] + 2000)
    assert alone.ours(NOTHING).why.startswith("no profile of RepNeXt-u3-T-rRep")
    partial = alone.ours(evidence(moving(RREP, 2200), moving(SREP, 2000, lacks=1)))
    assert (partial.estimate, partial.why) == (
        None,
        "the profile of RepNeXt-u3-T-sRep lacks operators",
    )


def test_a_ratio_reads_its_table_and_device():
    pair = Ratio(TRAIN, SREP, 6, "orin")
    assert pair.reported() == 17.6 / 9.3
    assert pair.name == "RepNeXt-u3-T / RepNeXt-u3-T-sRep"
    batched = Ratio(SREP._replace(batch=128), RREP._replace(batch=128), 6, "orin")
    assert batched.reported() == 253 / 168
    assert batched.name == "RepNeXt-u3-T-rRep / RepNeXt-u3-T-sRep, img/s"
    assert Ratio(TRAIN, SREP, 3).reported() == 12.6 / 6.3
    assert Ratio(TRAIN, Place(T, "rrep_fc")).reported() is None
    assert math.isclose(Ratio(TRAIN, Place(T, "rrep")).reported(), 11.9 / 8.5)

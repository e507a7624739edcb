"""Decisions: by hand, and against a brute force that knows only the records."""

import collections
import itertools
import math
import random
import statistics

import msgspec
import pytest
from scipy import stats as scipy_stats
from support.records import OBSERVED, evaluation, failure, rounds

from bench.analysis import rows
from bench.analysis.choose import words
from bench.analysis.choose.advice import advice
from bench.analysis.choose.budget import Budget, limits
from bench.analysis.choose.decision import Standing, decide
from bench.errors import UsageError
from bench.paper import accuracy
from bench.records import Artifact, Case, Cost, Stages


def decided(records, *given, **fields):
    budget = Budget(limits(given), **fields)
    return decide(rows.unranked(records), budget)


def networks(entries):
    return [entry.case.model for entry in entries]


def steady(model, ms, form="plain", **changes):
    latencies = [ms * factor for factor in (0.99, 1.0, 1.01)]
    return rounds(model, form, latencies_ms=latencies, **OBSERVED, **changes)


def test_networks_stand_by_their_intervals():
    records = [
        *steady("resnet50", 10.0),
        *steady("convnext_t", 20.0),
        *steady("swin_t", 30.0),
        *rounds("deit_s", latencies_ms=[15.0, 25.0], **OBSERVED),
        *rounds("resnet101", latencies_ms=[50.0], **OBSERVED),
        *rounds("vit_b", latencies_ms=[17.0, 19.0, 22.0], **OBSERVED),
    ]
    found = decided(records, ("--max-latency", "21ms"))
    assert networks(found.fits) == ["resnet50", "convnext_t"]
    assert networks(found.open) == ["vit_b", "deit_s"]
    assert networks(found.lost) == ["swin_t", "resnet101"]  # more than twice the limit
    assert words.reason(found.lost[0]).endswith("1.43 times the limit")
    told = [advice(each, "results") for each in found.open]
    assert [each.rounds for each in told] == [9, 1]  # t(11) * 0.13 / sqrt(12)
    assert told[0].command.endswith("--rounds 12 --out results")
    assert told[1].text == "1 more, for an interval"


def test_a_network_stands_for_its_best_case():
    records = [
        *steady("repnext_u3_t", 30.0, "train"),
        *steady("repnext_u3_t", 20.0, "rrep"),
        *steady("repnext_u3_t", 18.0, "rrep", backend="compile"),
        *steady("repnext_u2_t", 50.0, "train"),
        *steady("repnext_u2_t", 40.0, "rrep"),
    ]
    found = decided(records, ("--max-latency", "25ms"))
    (fits,), (lost,) = found.fits, found.lost
    assert (fits.case.form, fits.case.backend, fits.others) == ("rrep", "compile", 1)
    assert (lost.case.form, lost.others) == ("rrep", 1)
    assert words.reason(lost).endswith("1.60 times the limit")


def test_the_limit_that_is_exceeded_most_decides():
    records = steady("resnet50", 30.0, cost=Cost(peak_memory_bytes=900_000_000))
    found = decided(records, ("--max-latency", "20ms"), ("--max-memory", "300MB"))
    assert words.reason(found.lost[0]) == "peak memory 900 MB: 3.00 times the limit"
    found = decided(records, ("--max-latency", "2ms"), ("--max-memory", "300MB"))
    assert words.reason(found.lost[0]).endswith("15.0 times the limit")


def test_what_is_lost_by_one_limit_need_not_be_measured_for_another():
    records = [*steady("resnet50", 30.0), *steady("timm/resnet18", 10.0), *steady("swin_t", 10.0)]
    found = decided(records, ("--max-latency", "20ms"), ("--min-top1", "81"))
    assert networks(found.fits) == ["swin_t"]
    assert networks(found.lost) == ["timm/resnet18", "resnet50"]
    other = [*steady("resnet50", 30.0), *steady("timm/unknown", 10.0)]
    found = decided(other, ("--max-latency", "20ms"), ("--min-top1", "75"))
    assert networks(found.unmeasured) == ["timm/unknown"]
    assert advice(found.unmeasured[0], "results").command == (
        "bench eval --device cpu --models timm/unknown+WEIGHTS --data FOLDER --dataset "
        "imagenet1k --resolution 224 --backend eager --precision fp32 --out results"
    )


def test_ties_are_those_that_the_ratio_does_not_tell_apart():
    records = [
        *rounds("resnet50", latencies_ms=[10.0, 11.0, 12.0, 10.5], **OBSERVED),
        *rounds("swin_t", latencies_ms=[10.1, 11.2, 11.9, 10.7], **OBSERVED),
        *rounds("convnext_t", latencies_ms=[12.0, 13.2, 14.4, 12.6], **OBSERVED),
    ]
    found = decided(records)
    assert networks(found.fits) == ["resnet50", "swin_t", "convnext_t"]
    assert networks(found.tied) == ["swin_t"]
    assert found.fits[2].ratio.point == pytest.approx(1.2)
    assert words.answer(found) == "ResNet50 is the first of 3 that fit, tied with Swin-T."


def evaluated(model, right):
    case = steady(model, 1.0)[0].case
    return evaluation(case, right, dataset="imagenet1k", images=1000, weights_hash=model)


def test_by_top1_intervals_that_overlap_are_tied_and_exact_ones_are_not():
    names = ("timm/a", "timm/b", "timm/c")
    records = [record for name in names for record in steady(name, 10.0)]
    records += [evaluated("timm/a", 800), evaluated("timm/b", 790), evaluated("timm/c", 600)]
    found = decided(records, ("--min-top1", "50"), objective="top1")
    assert networks(found.fits) == list(names)
    assert networks(found.tied) == ["timm/b"]
    found = decided([*steady("resnet50", 1.0), *steady("swin_t", 2.0)], objective="top1")
    assert networks(found.fits) == ["swin_t", "resnet50"]
    assert found.tied == []


def test_an_interval_of_top1_that_holds_the_limit_cannot_be_told():
    records = [*steady("timm/a", 10.0), evaluated("timm/a", 800)]
    found = decided(records, ("--min-top1", "80.5"))
    assert networks(found.open) == ["timm/a"]
    assert "the limit is 80.5 %" in words.reason(found.open[0])
    assert advice(found.open[0], "results") == (None, "none: evaluate more images", "")


@pytest.mark.parametrize(
    ("given", "fields", "message"),
    [
        ((("--max-power", "15W"),), {}, "power is known of none of 1 cases: this device has no"),
        ((), {"objective": "energy"}, "energy per image is known of none of 1 cases"),
        ((("--min-top1", "80"),), {"dataset": "mnist"}, "no top-1 on mnist at 224 pixels is known"),
    ],
)
def test_what_nobody_measured_is_an_error(given, fields, message):
    with pytest.raises(UsageError, match=message) as caught:
        decided(steady("resnet50", 10.0), *given, **fields)
    assert caught.value.remedy


def test_a_load_has_its_own_number_of_rounds():
    loads = [Stages(load=seconds) for seconds in (1.0, 1.2, 1.1)]
    records = [
        msgspec.structs.replace(record, stages_s=stages)
        for record, stages in zip(steady("resnet50", 10.0), loads, strict=True)
    ]
    (undecided,) = decided(records, ("--max-load", "1.2s")).open
    assert advice(undecided, "results").rounds == 4  # t(6) * 0.1 / sqrt(7) = 0.092 s
    (lost,) = decided(records, ("--max-load", "0.1s")).lost
    assert advice(lost, "results") == (None, "", "")


def test_a_percentile_lacks_as_many_rounds_as_its_iterations_need():
    records = rounds("resnet50", latencies_ms=[10.0] * 3, spread=[1.0] * 20, **OBSERVED)
    (unmeasured,) = decided(records, ("--max-latency", "20ms:p95")).unmeasured
    told = advice(unmeasured, "results")
    assert told.rounds == 4  # 130 iterations in 7 rounds of 20
    assert told.command.endswith("--rounds 7 --out results")


def test_a_failure_alone_is_not_measured_and_says_how_to_try_again():
    case = Case("resnet50", "plain", threads=2)
    found = decided([failure(case)], ("--max-latency", "20ms"))
    assert networks(found.unmeasured) == ["resnet50"]
    assert advice(found.unmeasured[0], "results").command.endswith("--retry-failed")


def test_what_can_never_be_known_gives_way_to_what_is_lost():
    exported = steady(
        "resnet50", 5.0, backend="onnxruntime", artifact=Artifact("file", "hash", 9, "dynamo")
    )
    large = steady("resnet50", 10.0, cost=Cost(peak_memory_bytes=900_000_000))
    found = decided([*exported, *large], ("--max-memory", "300MB"))
    assert [entry.case.backend for entry in found.lost] == ["eager"]


def test_networks_without_a_ratio_are_not_tied():
    records = [*rounds("resnet50", latencies_ms=[10.0]), *rounds("swin_t", latencies_ms=[11.0])]
    found = decided(records)
    assert networks(found.fits) == ["resnet50", "swin_t"]
    assert found.tied == []


# A brute force: it reads the records alone, and decides case by case.


def drawn_store(random_):
    """Networks with one to three cases each, of one to six rounds, and the facts about them."""
    names = [*[f"timm/net{number}" for number in range(25)], "resnet50", "swin_t", "convnext_t"]
    records = []
    for name in names:
        for backend in random_.sample(["eager", "compile", "onnxruntime"], random_.randint(1, 3)):
            typical_ms = math.exp(random_.uniform(0, 5))
            latencies = [
                typical_ms * math.exp(random_.gauss(0, 0.1)) for _ in range(random_.randint(1, 6))
            ]
            memory = random_.choice([None, *[random_.randint(50, 500) * 10**6] * 4])
            records += rounds(
                name,
                latencies_ms=latencies,
                spread=(1.0,),
                backend=backend,
                cost=Cost(peak_memory_bytes=memory),
                stages_s=Stages(load=random_.uniform(0.1, 3.0)),
            )
    return records


def interval_of(values):
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = scipy_stats.t.ppf(0.975, len(values) - 1) * deviation / math.sqrt(len(values))
    return (mean - half, mean + half)


def facts_of(several):
    """For each quantity of a case, (point, low, high), or None."""
    medians = [statistics.median(record.samples_s) for record in several]
    mean, logs = statistics.fmean(medians), [math.log(median) for median in medians]
    low, high, known = mean / 2, mean * 2, len(medians) >= 3
    if known:
        ends = interval_of(logs)
        low, high = (mean * math.exp(end - statistics.fmean(logs)) for end in ends)
    memory = several[0].cost.peak_memory_bytes
    typical_s = statistics.fmean(record.stages_s.load for record in several)
    loads = [record.stages_s.load for record in several]
    published = [a for a in accuracy.of(several[0].case.model, 224) if a.dataset == "imagenet1k"]
    return {
        "processes": len(medians),
        "latency": (mean, low, high),
        "memory": None if memory is None else (memory, memory, memory),
        "load": (typical_s, *(interval_of(loads) if known else (typical_s / 2, typical_s * 2))),
        "top1": (published[0].top1,) * 3 if published else None,
    }


STATES = ("fits", "cannot be told", "not measured", "does not fit")


def state_of(known, quantity, bound):
    """The state with one limit, and by what factor the value exceeds it."""
    if known is None:
        return "not measured", 0.0
    point, low, high = known
    if quantity == "top1":
        point, low, high, bound = 100 - point, 100 - high, 100 - low, 100 - bound
    state = "does not fit" if low > bound else "cannot be told" if high > bound else "fits"
    return state, point / bound


def judge(known, asked, by):
    """The state of a case, and its place among cases of the same state."""
    states = [state_of(known[quantity], quantity, bound) for quantity, bound in asked]
    states += [("not measured", 0.0)] * (known[by] is None)
    worst = next(
        (s for s in ("does not fit", "not measured", "cannot be told") if s in dict(states)), "fits"
    )
    value = known[by][0] * (-1 if by == "top1" else 1) if known[by] else math.inf
    is_rough = by == "latency" and known["processes"] < 3
    excess = max((factor for state, factor in states if state == worst), default=0.0)
    if worst == "does not fit":
        return worst, (excess, known["latency"][0])
    return worst, (is_rough, value, known["latency"][0])


def brute_force(facts, asked, by):
    """For each network: its state, the order, and the case that stands for it."""
    found = {}
    for model, cases in facts.items():
        judged = [(*judge(known, asked, by), case) for case, known in cases.items()]
        found[model] = min(judged, key=lambda each: (STATES.index(each[0]), each[1]))
    return found


def drawn_budget(random_):
    asked = {
        "latency": math.exp(random_.uniform(0, 5)) / 1e3,
        "memory": random_.randint(50, 500) * 1e6,
        "load": random_.uniform(0.1, 3.0),
        "top1": random_.uniform(70, 84),
    }
    names = random_.sample(list(asked), random_.randint(0, 4))
    return [(name, asked[name]) for name in names], random_.choice(["latency", "top1"])


FLAGS = {
    "latency": "--max-latency {:.9f}s",
    "memory": "--max-memory {:.9f}kB",
    "load": "--max-load {:.9f}s",
    "top1": "--min-top1 {:.9f}",
}


def test_a_thousand_random_budgets_agree_with_brute_force():
    random_ = random.Random(7)
    states = collections.Counter()
    for _ in range(10):
        records = drawn_store(random_)
        made = rows.unranked(records)
        facts = {}
        for case, several in itertools.groupby(records, key=lambda record: record.case):
            facts.setdefault(case.model, {})[case.case_id] = facts_of(list(several))
        for _ in range(100):
            asked, by = drawn_budget(random_)
            scaled = [(name, bound / 1e3 if name == "memory" else bound) for name, bound in asked]
            given = [tuple(FLAGS[name].format(bound).split(" ", 1)) for name, bound in scaled]
            found = decide(made, Budget(limits(given), objective=by))
            wanted = brute_force(facts, asked, by)
            for standing, entries in zip(
                Standing, (found.fits, found.open, found.unmeasured, found.lost), strict=True
            ):
                expected = sorted(
                    (order, case)
                    for state, order, case in wanted.values()
                    if state == standing.value
                )
                assert [each.case.case_id for each in entries] == [case for _, case in expected]
                states[standing] += len(entries)
    assert min(states.values()) > 500

"""The questions of a report: neighbours in its tables, forms of a network, pairs of its claims."""

import msgspec
from support.records import CHIP, ENVIRONMENT, GPU, failure, rounds, timed
from support.results import device

from bench.records import Case
from bench.report import questions


def asked(*groups, chip=CHIP):
    """Who asks about which pair, for rows of a device: {(base, candidate): askers}."""
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    every = questions.merged(questions.asked(device(*groups, environment=environment)))
    return {(each.base.name, each.candidate.name): each.asked_by for each in every}


def test_neighbours_by_latency_are_asked_about_once_for_all_tables():
    found = asked(rounds("swin_t", latencies_ms=[30]), rounds("resnet50", latencies_ms=[10]),
                  rounds("convnext_t", latencies_ms=[20]))  # fmt: skip
    tables = {pair: [each for each in by if "neighbours" in each] for pair, by in found.items()}
    assert tables["resnet50", "convnext_t"] == [
        *(f"neighbours in Table {number}" for number in (2, 4, 6)),
        "neighbours in results.md",
    ]
    assert "neighbours in Table 6" in tables["convnext_t", "swin_t"]
    assert not tables.get(("resnet50", "swin_t"))


def test_all_forms_of_a_network_are_asked_about():
    forms = [
        rounds("repnext_u3_t", form, [ms])
        for form, ms in (("train", 30), ("rrep", 20), ("srep", 10))
    ]
    by_forms = [pair for pair, by in asked(*forms).items() if "forms of repnext_u3_t" in by]
    names = [f"repnext_u3_t@{form}" for form in ("train", "rrep", "srep")]
    assert sorted(map(sorted, by_forms)) == sorted(
        sorted(pair) for pair in ((names[0], names[1]), (names[0], names[2]), (names[1], names[2]))
    )


def test_claims_ask_only_on_the_kind_of_device_that_they_are_about():
    both = [rounds("convnext_t", latencies_ms=[10]), rounds("repnext_u3_t", "rrep", [20])]
    (on_cpu,) = asked(*both).values()
    assert "claim 34" in on_cpu  # faster than ConvNeXt-T on a CPU
    on_gpu = asked(*(rounds(*each, device="cuda", threads=8) for each in (
        ("convnext_t", "plain", [10]), ("repnext_u3_t", "rrep", [20]))), chip=GPU)  # fmt: skip
    assert not any("claim 34" in by for by in on_gpu.values())


def test_each_allocator_asks_for_itself():
    pair = [("convnext_t", "plain", [10]), ("repnext_u3_t", "rrep", [20])]
    groups = [rounds(*each, allocator=name) for each in pair for name in ("default", "arena")]
    groups.append(rounds("swin_t", latencies_ms=[30]))
    environment = msgspec.structs.replace(ENVIRONMENT, chip=CHIP)
    every = questions.merged(questions.asked(device(*groups, environment=environment)))
    assert all(each.base.allocator == each.candidate.allocator for each in every)
    for asker in ("claim 34", "neighbours in Table 6"):
        by = [each.base.allocator for each in every if asker in each.asked_by]
        assert {*by} == {"default", "arena"}


def test_batches_settings_and_failures_are_never_compared():
    assert not asked(
        [timed("resnet50"), timed("swin_t", batch=128), timed("convnext_t", backend="compile")],
        [failure(Case("deit_s", "plain", threads=2))],
    )


def test_a_pair_in_both_orders_is_one_question_and_labels_are_left_out():
    a, b = Case("resnet50", "plain", label="Mine"), Case("swin_t", "plain")
    (found,) = questions.merged([(a, b, "one"), (b, a, "two"), (a, b, "one")])
    assert found.asked_by == ("one", "two")
    assert [found.base.label, found.base.model] == ["", "resnet50"]

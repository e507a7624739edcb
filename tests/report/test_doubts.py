"""Footnotes merge reasons that differ only in their numbers, without parsing text."""

import msgspec
from support.records import BUSIER, BUSY, OBSERVED, QUIET, rounds
from support.results import device

from bench.report import doubts


def footnotes(*groups):
    """The footnotes on a device with these records."""
    return list(doubts.footnotes("Chip", device(*groups).rows))


def under(model, conditions, count=3, **changes):
    """Return rounds that end by precision, as many as `count`."""
    fields = {**OBSERVED, "conditions": conditions, **changes}
    return rounds(model, latencies_ms=[10.0] * count, last="precision", **fields)


def with_modes(*modes):
    return msgspec.structs.replace(QUIET, power_modes=list(modes))


def test_reasons_that_differ_only_in_numbers_are_merged():
    found = footnotes(under("resnet50", BUSY), under("swin_t", BUSIER))
    assert found == [
        "† SUSPECT on Chip: other processes used 13 to 20 % of the CPUs (ResNet50, Swin-T)."
    ]


def test_footnotes_omit_the_number_of_rounds_with_a_reason():
    found = footnotes(under("resnet50", BUSY, count=2), under("swin_t", BUSIER))
    assert found == [
        "† SUSPECT on Chip: other processes used 13 to 20 % of the CPUs (ResNet50, Swin-T)."
    ]


def test_a_case_of_one_process_is_named():
    found = footnotes(under("resnet50", QUIET, count=1), under("swin_t", QUIET))
    assert found == ["† SUSPECT on Chip: it was measured in one process (ResNet50)."]


def test_calls_that_were_timed_in_groups_are_named():
    found = footnotes(under("resnet50", QUIET, calls_per_sample=10), under("swin_t", QUIET))
    assert found == ["Calls below 50 µs, timed in groups and shown without ± on Chip: ResNet50."]


def test_power_modes_are_names_and_no_range():
    found = footnotes(
        under("resnet50", with_modes("MODE_15W", "MODE_30W")),
        under("swin_t", with_modes("MODE_30W", "MODE_50W")),
    )
    assert found == [
        "‡ INVALID on Chip: the power mode changed: MODE_15W to MODE_30W (ResNet50); "
        "the power mode changed: MODE_30W to MODE_50W (Swin-T)."
    ]


def test_a_reason_of_a_sensor_that_ends_like_a_count_of_rounds_stays_whole():
    said = "no counter {0} in slot 7 (1 of 2 rounds)"
    blind = msgspec.structs.replace(QUIET, stolen_cpu_s=None, missing={"stolen_cpu_s": said})
    assert footnotes(under("resnet50", blind)) == [
        f"† SUSPECT on Chip: steal time could not be read: {said} (ResNet50)."
    ]


def test_threads_beyond_the_usable_cpus_span_a_range():
    found = footnotes(
        under("resnet50", QUIET, threads=4),
        under("swin_t", QUIET, threads=8),
        under("vit_b", QUIET, threads=2, warnings=["threads on.py: 9 threads on 2 usable CPUs"]),
    )
    assert found == ["† SUSPECT on Chip: 4 to 8 threads on 2 usable CPUs (ResNet50, Swin-T)."]

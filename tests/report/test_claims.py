"""Claims: values recomputed from the paper's tables, and verdicts for records of known ratios."""

import csv
import io
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.claims import CPU, NOISE, SIZES, claim, in_print, judged, on, rounds_on
from support.paths import ROOT
from support.records import BUSY, GPU, TAKEN, failure

from bench import paper
from bench.analysis.stats import Estimate
from bench.records import Cost
from bench.report import claims, devices, page
from bench.report.claims import catalogue
from bench.report.claims.claim import BEYOND, CHANGE, FASTER, SHARE, TIMES
from bench.report.claims.evidence import Found, exact_value, missing, of_pairs
from bench.report.claims.verdicts import (
    VERDICTS,
    combined,
    mean,
    reported_of,
    supported_by_paper,
    verdict_of,
)
from bench.report.claims.words import contradicting, device_cell, own_tables
from bench.report.tables import paper_tables
from bench.storage.reader import read

U3 = SIZES
REGULAR = "Regular re-parameterisation alone speeds up a GPU"
CONVNEXT = "RepNeXt is faster than ConvNeXt by 62 % on average"


def regular(chip, *ratios, noise=NOISE, **changes):
    """RepNeXt T, S and B before and after regular re-parameterisation, by these ratios."""
    return on(
        chip,
        *(rounds_on(chip, f"{m}@rrep", 10.0, (1.0,) * len(noise), **changes) for m in U3),
        *(
            rounds_on(chip, f"{m}@train", 10.0 * ratio, noise, **changes)
            for m, ratio in zip(U3, ratios, strict=False)
        ),
    )


# What the paper's own tables have of it.


def test_62_and_148_per_cent_are_what_table_4_gives():
    (convnext,) = in_print(CONVNEXT)
    (efficientnet,) = in_print("RepNeXt is faster than EfficientNet by 148 % on average")
    assert convnext == pytest.approx(100 * ((10.7 / 6.4 + 19.2 / 11.1 + 21.2 / 14.5) / 3 - 1))
    assert efficientnet == pytest.approx(100 * ((19.7 / 6.4 + 24.6 / 11.1 + 31.1 / 14.5) / 3 - 1))
    assert (round(convnext), round(efficientnet)) == (62, 148)
    assert judged(CONVNEXT).paper_agrees is True


def test_54_per_cent_holds_as_a_speed_up_and_not_as_a_change_of_latency():
    title = "Full re-parameterisation cuts latency by at least 54 %, read as a speed-up"
    before = (10.4, 12.2, 11.9, 10.8, 12.8, 12.6, 20.5, 22.4)
    after = (6.4, 6.4, 6.4, 6.3, 6.3, 6.3, 11.1, 14.5)
    pairs = list(zip(before, after, strict=True))
    assert in_print(title) == pytest.approx([100 * (b / a - 1) for b, a in pairs])
    assert min(in_print(title)) == pytest.approx(54.48, abs=0.01)
    found = judged(title)
    assert (found.claim.number, found.paper_agrees) == (8, True)
    assert own_tables(found) == "yes: +54 to +103 %"
    falls = [100 * (a / b - 1) for b, a in pairs]
    assert sorted(map(round, falls)) == [-51, -50, -48, -46, -46, -42, -38, -35]
    for words in ("22.4 → 14.5 ms", "+54.5 %", "−51 to −35 %", "first reading"):
        assert words in found.claim.note


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.6, "reproduced"), (1.4, "same direction"), (0.9, "not reproduced")]
)
def test_54_per_cent_is_judged_as_a_speed_up(ratio, verdict):
    units = ("repnext_u1_t", "repnext_u2_t", U3[0])
    cases = [(m, pixels) for m in units for pixels in (224, 64)] + [(m, 224) for m in U3[1:]]
    records = [
        rounds_on(GPU, f"{model}@{form}", ms, noise, resolution=pixels)
        for model, pixels in cases
        for form, ms, noise in (("train", 10 * ratio, NOISE), ("srep", 10, (1.0,) * 3))
    ]
    title = "Full re-parameterisation cuts latency by at least 54 %, read as a speed-up"
    assert judged(title, on(GPU, *records)).verdict == verdict


def test_repvgg_b2_is_slower_in_the_table_than_the_network_that_it_is_said_to_beat():
    title = "RepVGG-B1 and B2 are faster than RepNeXt; RepLKNet and MaxViT are slower"
    assert in_print(title) == pytest.approx([6.4 / 5.2, 6.4 / 11.0, 28.0 / 14.5, 50.3 / 14.5])
    found = judged(title)
    assert (found.claim.number, found.paper_agrees) == (26, False)
    assert f"RepVGG-B2 is {14.5 / 11.0:.2f} times as fast" in found.claim.note


def test_86_per_cent_is_the_most_that_the_tables_have_and_the_most_that_we_count():
    title = "Full re-parameterisation adds at most 86 % to parameters and FLOPs"
    found = judged(title)
    assert max(map(round, in_print(title))) == 86
    assert (found.paper_agrees, found.verdict) == (True, "reproduced")
    ours = {part.name: CHANGE.convert(part.found.point) for part in found.devices[0].parts}
    macs = ours["RepNeXt-u1-T to RepNeXt-u1-T-sRep, MACs of Table 2"]
    assert macs == pytest.approx(100 * (8202210816 / 4409770752 - 1))
    paper_of = {part.name: CHANGE.convert(part.reported) for part in found.devices[0].parts}
    table_3 = paper_of["RepNeXt-u1-T to RepNeXt-u1-T-sRep, MACs of Table 3"]
    assert table_3 == pytest.approx(100 * (0.67 / 0.36 - 1))


def test_steps_of_re_parameterisation():
    assert in_print(REGULAR) == pytest.approx([11.9 / 8.5, 20.5 / 15.3, 22.4 / 16.0])
    assert claim(REGULAR).said == "11.9 → 8.5 ms"
    assert in_print(REGULAR.replace("a GPU", "a CPU")) == [48.2 / 36.7]
    slower = in_print("Merging the shortcuts too makes a CPU slower than rRep, and than train")
    assert slower == [49.8 / 36.7, 49.8 / 48.2]
    costs = in_print("Merging the shortcuts costs throughput on a GPU")
    assert costs == pytest.approx([1150 / 639, 561 / 335, 354 / 207])


def test_the_standard_deviation_falls_in_the_paper_and_the_coefficient_of_variation_does_not():
    steadier = "Re-parameterisation steadies latency: its {} falls"
    std = steadier.format("standard deviation")
    cv = steadier.format("coefficient of variation")
    assert in_print(std)[3:] == pytest.approx([3.0 / 1.6, 3.7 / 2.0, 3.5 / 2.2])
    assert in_print(cv)[3] == pytest.approx((3.0 / 11.9) / (1.6 / 6.4))
    assert (judged(std).paper_agrees, judged(cv).paper_agrees) == (True, False)


@pytest.mark.parametrize(
    ("title", "rival"),
    [
        ("rRep has the leading CPU latency", "MobileNetV3-L"),
        ("rRep has the leading GPU throughput", "MobileNetV3-L"),
        ("SOTA inference speed: every other network of Table 4 is slower", "RepVGG-B1-rRep"),
    ],
)
def test_the_papers_tables_contradict_these_leads(title, rival):
    found = judged(title)
    assert found.paper_agrees is False
    assert rival in contradicting(found)


def test_the_papers_tables_support_these_leads():
    for kind in ("GPU", "edge"):
        assert judged(f"sRep has the lowest {kind} latency").paper_agrees is True
    assert (
        judged(
            "A better accuracy–speed trade-off: no equally accurate network is as fast"
        ).paper_agrees
        is True
    )


def test_the_order_of_table_6_is_of_pairs_that_differ_by_more_than_2_per_cent():
    title = "The order of latencies on {}, every pair of rows"
    assert len(reported_of(claim(title.format("a CPU")))) == 21
    assert len(reported_of(claim(title.format("a GPU")))) == 20  # 10.7 and 10.8 ms
    for each in ("a CPU", "a GPU", "an edge board"):
        assert all(supported_by_paper(claim(title.format(each))))


def test_the_tables_have_no_tf32_numbers():
    (found,) = (each for each in catalogue.claims() if "TF32" in each.title)
    assert reported_of(found) == []


def test_numbers_quoted_are_in_the_tables():
    printed = {row.throughput_img_s for row in paper.reported()}
    assert {2052.0, 1150.0} <= printed
    assert paper.find(4, "a100", U3[0], "rrep_fc").throughput_img_s == 2052


def test_every_claim_has_a_source_and_titles_are_unique():
    every = catalogue.claims()
    assert len({each.title for each in every}) == len(every) >= 60
    assert all(each.where and each.said for each in every)
    assert all(bool(each.quantities) != bool(each.untested) for each in every)
    names = [[quantity.name for quantity in each.quantities] for each in every]
    assert all(len(set(each)) == len(each) for each in names)


# The rule.


@pytest.mark.parametrize(
    ("interval", "size", "verdict"),
    [
        ((1.5, 1.7), 1.6, "reproduced"),
        ((1.8, 1.9), 1.6, "reproduced"),
        ((1.03, 3.0), None, "reproduced"),
        ((1.2, 1.5), 1.6, "same direction"),
        ((1.01, 1.9), 1.6, "undecided"),
        ((0.9, 1.1), None, "undecided"),
        ((0.5, 0.6), 1.6, "not reproduced"),
        ((0.99, 1.01), 1.6, "not reproduced"),
        ((0.9, 1.02), None, "not reproduced"),
    ],
)
def test_verdicts(interval, size, verdict):
    found = Found(Estimate(1.0, *interval), 1.0)
    assert verdict_of(found, BEYOND, size) == verdict


def test_no_verdict_without_an_interval():
    assert verdict_of(Found(point=2.0), BEYOND, None) == "not measured"


@given(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=9))
def test_a_claim_about_most_has_the_verdict_that_more_than_half_reach(verdicts):
    rank = VERDICTS.index
    found = combined(verdicts, most=True)
    assert sum(rank(each) >= rank(found) for each in verdicts) > len(verdicts) / 2
    better = VERDICTS[rank(found) + 1 :]
    assert sum(each in better for each in verdicts) <= len(verdicts) / 2
    assert combined(verdicts, most=False) == min(verdicts, key=rank)


def test_the_mean_averages_the_ends_and_needs_every_part():
    parts = [Found(Estimate(1.5, 1.4, 1.7), 1.5, doubted=True), exact_value(2.0)]
    assert mean(parts).estimate == pytest.approx((1.75, 1.7, 1.85))
    assert mean(parts).doubted
    without = mean([*parts, Found(point=1.0)])
    assert (without.estimate, without.point) == (None, 1.5)
    assert without.why == "1 of 3 networks have no interval"
    assert mean([*parts, missing("not on record")]).point is None


@pytest.mark.parametrize(
    ("scale", "value", "text", "interval"),
    [
        (TIMES, 1.404, "1.40×", "[1.26, 1.54]"),
        (FASTER, 1.62, "+62 %", "[+46, +78]"),
        (CHANGE, 2.0, "−50 %", "[−55, −44]"),
        (SHARE, 0.05, "5.00 %", "[4.50, 5.50]"),
    ],
)
def test_numbers_are_shown_in_the_papers_units(scale, value, text, interval):
    assert scale.span([value]) == text
    assert scale.interval([Estimate(value, 0.9 * value, 1.1 * value)]) == interval


# Records of known ratios.


@pytest.mark.parametrize(
    ("ratios", "noise", "verdict"),
    [
        ((1.4, 1.35, 1.41), NOISE, "reproduced"),
        ((2.0, 2.0, 2.0), NOISE, "reproduced"),
        ((1.4, 1.35, 1.2), NOISE, "same direction"),
        ((1.4, 1.35, 0.8), NOISE, "not reproduced"),
        ((1.0, 1.0, 1.0), (0.999, 1.0, 1.001), "not reproduced"),
        ((1.4, 1.35, 1.2), (0.7, 1.0, 1.3), "undecided"),
        ((1.4, 1.35), NOISE, "not measured"),
        ((1.4, 0.8), NOISE, "not reproduced"),
        ((1.4, 1.35, 1.4), (1.0,), "not measured"),
    ],
)
def test_a_claim_about_three_networks(ratios, noise, verdict):
    found = judged(REGULAR, regular(GPU, *ratios, noise=noise))
    assert found.verdict == verdict
    point = found.devices[0].parts[0].found.point
    assert point == pytest.approx(ratios[0], rel=0.05)


def test_what_is_missing_is_named():
    found = judged(REGULAR, regular(GPU, 1.4, 1.35))
    assert found.why == "RepNeXt-u3-B is not on record"
    few = judged(REGULAR, regular(GPU, 1.4, 1.4, 1.4, noise=(0.99, 1.01)))
    assert few.why == "fewer than 3 processes have no interval"
    assert "1.40× no interval" in table_cell(few, 0)


def table_cell(found, index):
    return claims.words.on_device(found.claim, found.devices[index])


def test_a_cpu_says_only_whether_a_claim_about_a_gpu_carries_over():
    found = judged(REGULAR, regular(CPU, 1.4, 1.4, 1.5))
    assert (found.verdict, found.why) == ("not measured", "no GPU on record")
    assert found.devices[0].verdict == "reproduced"
    assert table_cell(found, 0).endswith(", carries over")
    own = judged(REGULAR.replace("a GPU", "a CPU"), regular(CPU, 1.4, 1.4, 1.5))
    assert own.verdict == "reproduced"
    assert table_cell(own, 0).endswith(", reproduced")


def test_if_devices_disagree_the_least_favourable_verdict_counts():
    other = msgspec.structs.replace(GPU, name="Other GPU")
    silent = msgspec.structs.replace(GPU, name="Third GPU")
    found = judged(
        REGULAR,
        regular(GPU, 1.5, 1.5, 1.5),
        regular(other, 1.2, 1.2, 1.2),
        on(silent, rounds_on(silent, "resnet50", 10.0)),
    )
    assert [each.verdict for each in found.devices] == [
        "reproduced",
        "same direction",
        "not measured",
    ]
    assert found.verdict == "same direction"
    assert judged(REGULAR).why == "no GPU on record"


def test_failed_and_invalid_rows_are_not_used_and_suspect_ones_are_marked():
    suspect = judged(REGULAR, regular(GPU, 1.4, 1.4, 1.5, conditions=BUSY))
    assert "†" in table_cell(suspect, 0)
    assert suspect.verdict == "reproduced"
    invalid = judged(REGULAR, regular(GPU, 1.4, 1.4, 1.5, conditions=TAKEN))
    assert invalid.why.startswith("RepNeXt-u3-T is INVALID")
    broken = rounds_on(GPU, f"{U3[0]}@rrep", 10.0)[0].case
    records = [
        *rounds_on(GPU, f"{U3[0]}@train", 14.0),
        failure(broken, environment_id=GPU.name, stage="first"),
    ]
    assert judged(REGULAR, on(GPU, records)).why.startswith("RepNeXt-u3-T-rRep failed (first)")


def test_networks_that_did_not_take_turns_are_marked():
    later = rounds_on(GPU, f"{U3[0]}@train", 14.0, run_id="later")
    found = judged(REGULAR, on(GPU, rounds_on(GPU, f"{U3[0]}@rrep", 10.0), later))
    part = found.devices[0].parts[0]
    assert part.found.apart
    assert part.found.estimate.low < 1.4 < part.found.estimate.high


def test_only_the_papers_setting_counts():
    odd = msgspec.structs.replace(GPU, threads=4)  # the chip has eight
    records = [*rounds_on(odd, f"{U3[0]}@rrep", 10.0), *rounds_on(GPU, f"{U3[0]}@train", 14.0)]
    found = judged(REGULAR, on(GPU, records))
    assert found.devices[0].parts[0].found.why == "RepNeXt-u3-T-rRep is not on record"


def test_a_run_on_another_number_of_threads_counts_here_as_in_the_tables():
    one = msgspec.structs.replace(CPU, threads=1)
    records = [*rounds_on(one, f"{U3[0]}@rrep", 10.0), *rounds_on(one, f"{U3[0]}@train", 14.0)]
    found = on(CPU, records)
    assert judged(REGULAR.replace("a GPU", "a CPU"), found).verdict == "reproduced"
    assert "10.0 " in paper_tables.render([found])["table6.md"].decode()
    assert "(CPU, 1 thread)" in everything(found)["claims.md"].decode()
    several = on(GPU, rounds_on(GPU, "resnet50", 10.0))
    assert "Test GPU (GPU)." in everything(several)["claims.md"].decode()  # not the host's CPUs


SPARSE = "The sparse parameters of merged shortcuts do not slow inference significantly"


@pytest.mark.parametrize(("ratio", "verdict"), [(1.5, "undecided"), (0.6, "not reproduced")])
def test_a_claim_that_can_only_be_refuted_is_never_reproduced(ratio, verdict):
    alternated = [
        rounds_on(GPU, f"{m}@{f}", ms) for m in U3 for f, ms in (("srep", 10), ("rrep", ratio * 10))
    ]
    found = judged(SPARSE, on(GPU, *alternated))
    assert found.verdict == verdict
    assert found.paper_agrees is None
    assert own_tables(found) == "no contradiction: 1.10 to 1.38×"


ACCESS = "Merging shortcuts improves memory access: operators move fewer bytes"


def test_a_device_without_a_name_is_not_mistaken_for_counts():
    nameless = regular(msgspec.structs.replace(CPU, name=""), 1.4, 1.4, 1.4)
    nameless = msgspec.structs.replace(nameless, label="")
    named = regular(GPU, 1.2, 1.2, 1.2)
    found = judged(REGULAR, nameless, named)
    assert "1.20×" in device_cell(found, GPU.name)
    assert "1.40×" in device_cell(found, "")
    text = everything(nameless, named)["claims.md"].decode()
    assert "Counted: RepNeXt-u3-T / " not in text
    counted = judged("Merging shortcuts adds “a very small number” of parameters", nameless)
    assert device_cell(counted, "") == device_cell(counted, "any") != "not measured"


def test_a_verdict_that_rests_on_suspect_rows_says_so():
    busy = regular(GPU, 1.4, 1.4, 1.5, conditions=BUSY)
    found = judged(REGULAR, busy)
    assert found.doubted
    assert claims.words.headline(found) == "reproduced †"
    text = everything(busy)["claims.md"].decode()
    assert "**reproduced †**" in text
    open_ones = ("not measured", "not tested")
    decided = [each for each in claims.judge([busy]) if each.verdict not in open_ones]
    doubted = sum(each.doubted for each in decided)
    assert 0 < doubted < len(decided)
    assert f"- {doubted} of these {len(decided)} verdicts rest on SUSPECT rows" in text
    quiet = regular(GPU, 1.4, 1.4, 1.5)
    assert not judged(REGULAR, quiet).doubted
    assert "rest on SUSPECT" not in everything(quiet)["claims.md"].decode()
    other = regular(CPU, 1.4, 1.4, 1.5, conditions=BUSY)  # it is not about a CPU
    assert not judged(REGULAR, quiet, other).doubted


def test_memory_is_not_judged_by_what_a_cpu_holds():
    cost = Cost(weight_bytes=1, peak_memory_bytes=1000)
    alternated = [
        rounds_on(CPU, f"{m}@{f}", 10, cost=cost) for m in U3 for f in ("train", "rrep", "srep")
    ]
    found = claims.judge([on(CPU, *alternated)])
    peaks = [each for each in found if "peak with" in each.claim.title]
    assert [each.claim.number for each in peaks] == [4, 5, 59]
    for each in peaks:
        assert each.devices[0].verdict == "not measured"
        assert "no allocator" in each.devices[0].parts[0].found.why
    assert judged(ACCESS, on(CPU, *alternated)).verdict == "not measured"


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.67, 1.73, 1.46), "reproduced"),
        ((2.5, 1.7, 0.66), "reproduced"),  # it is the mean that is claimed
        ((1.3, 1.3, 1.3), "same direction"),
        ((0.6, 0.6, 0.6), "not reproduced"),
        ((1.7, 1.7), "not measured"),
    ],
)
def test_a_claim_about_a_mean(ratios, verdict):
    sizes = [f"convnext_{size}" for size in "tsb"]
    found = judged(
        CONVNEXT,
        on(
            GPU,
            *(rounds_on(GPU, f"{model}@srep", 10.0, (1.0,) * 3) for model in U3),
            *(rounds_on(GPU, m, 10.0 * ratio) for m, ratio in zip(sizes, ratios, strict=False)),
        ),
    )
    assert found.verdict == verdict


def test_throughput_is_compared_at_batch_128():
    title = "Merging the shortcuts costs throughput on a CPU"
    alternated = [
        rounds_on(CPU, f"{U3[0]}@{f}", ms, batch=128) for f, ms in (("rrep", 10), ("srep", 30))
    ]
    found = judged(title, on(CPU, *alternated))
    assert found.verdict == "reproduced"
    assert found.devices[0].parts[0].found.point == pytest.approx(3.0, rel=0.01)


# The page.


def everything(*found):
    return claims.render(claims.judge(found), found)


def test_hostile_labels_are_shown_as_they_are():
    name = "<script>|*x*\n[a](b)"
    chip = msgspec.structs.replace(GPU, name=name)
    text = everything(regular(chip, 1.4, 1.35, 1.41))["claims.md"].decode()
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert r"\<script\>\|\*x\* \[a\](b)" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}  # of every table


def test_the_same_records_give_the_same_bytes():
    found = regular(GPU, 1.4, 1.35, 1.2)
    assert everything(found) == everything(found)


def test_the_page_without_any_device():
    text = everything()["claims.md"].decode()
    assert "On record: no device." in text
    assert "no GPU on record" in text


def test_the_csv_has_a_line_for_each_quantity_on_each_device():
    found = (regular(GPU, 1.4, 1.35, 1.2), regular(CPU, 1.1, 1.1, 1.1))
    lines = list(csv.DictReader(io.StringIO(everything(*found)["claims.csv"].decode())))
    every = catalogue.claims()
    per_claim = [max(len(c.quantities), 1) + (c.rule == "mean") for c in every]
    copies = [1 if c.kind == "none" or c.untested else 2 for c in every]
    assert len(lines) == sum(n * m for n, m in zip(per_claim, copies, strict=True))
    mine = [line for line in lines if line["claim"] == REGULAR and line["device"] == GPU.name]
    assert [line["verdict"] for line in mine] == ["reproduced", "reproduced", "same direction"]
    assert float(mine[0]["ours"]) == pytest.approx(1.4, rel=0.01)
    assert float(mine[0]["low"]) < 1.4 < float(mine[0]["high"])
    assert float(mine[0]["paper"]) == pytest.approx(11.9 / 8.5, rel=1e-5)


def test_numbers_are_never_used_twice_and_the_page_is_in_their_order_within_a_group():
    numbers = [each.number for each in catalogue.claims()]
    assert numbers == list(range(1, len(numbers) + 1))
    text = everything(regular(GPU, 1.4, 1.35, 1.2))["claims.md"].decode()
    for each in catalogue.claims():
        rows = [row for row in text.splitlines() if row.startswith(f"| {each.number:2} |")]
        assert len(rows) == 1
        assert text.count(f"- **{each.number}. ") == 1


def test_the_page_says_whose_statement_each_claim_is():
    found = regular(GPU, 1.4, 1.35, 1.2)
    text = everything(found)["claims.md"].decode()
    every = catalogue.claims()
    ours = [str(each.number) for each in every if each.quote is None]
    assert {"9", "15", "36", "37", "38", "41", "46"} < set(ours)
    counts = f"{len(every) - len(ours)} of the {len(every)} claims are sentences of the paper."
    assert f"- {counts} {len(ours)} are ours: {', '.join(ours)}." in text
    (row,) = [row for row in text.splitlines() if row.startswith("| 15 |")]
    assert "| ours; Table 6 " in row
    (note,) = [line for line in text.splitlines() if line.startswith("- **15.")]
    assert "This statement is ours." in note
    (note,) = [line for line in text.splitlines() if line.startswith("- **20.")]
    assert "Sec. 5: “the additional sparse weights" in note
    lines = list(csv.DictReader(io.StringIO(everything(found)["claims.csv"].decode())))
    assert {line["number"] for line in lines if line["statement"] == "ours"} == set(ours)
    assert all(bool(line["sentence"]) == (line["statement"] == "paper") for line in lines)
    whose = {line.title: line.where for line in claims.lines(claims.judge([found]), [found])}
    assert whose[claim_of(15).title] == "ours; Table 6"
    assert whose[REGULAR] == "Secs. 1, 4.1, Table 4"


def claim_of(number):
    return next(each for each in catalogue.claims() if each.number == number)


def test_every_quote_names_a_place_that_its_claim_gives():
    for each in (each for each in catalogue.claims() if each.quote):
        place = each.quote.section.split(" (")[0].removeprefix("Sec. ")
        assert place in each.where, each.number


def test_a_claim_that_nothing_decides_is_not_tested_and_says_what_would_test_it():
    title = "A cleaner network and more parallelism explain most of the speed-up"
    found = regular(GPU, 1.4, 1.35, 1.2)
    mine = judged(title, found)
    assert (mine.verdict, mine.devices, mine.paper_agrees) == ("not tested", [], None)
    assert claims.words.headline(mine) == "not tested"
    assert device_cell(mine, GPU.name) == own_tables(mine) == "–"
    text = everything(found)["claims.md"].decode()
    assert "1 not tested (63)" in text
    assert "Not tested: the paper defines neither cause" in text
    (line,) = [
        line
        for line in csv.DictReader(io.StringIO(everything(found)["claims.csv"].decode()))
        if line["claim"] == title
    ]
    assert (line["number"], line["verdict"], line["device"]) == ("63", "not tested", "")
    assert line["why"] == mine.claim.untested


def test_lines_of_the_html_page():
    found = [regular(GPU, 1.4, 1.35, 1.41)]
    lines = claims.lines(claims.judge(found), found)
    assert all(isinstance(line, page.Claim) for line in lines)
    (mine,) = (line for line in lines if line.title == REGULAR)
    assert mine.verdict == "reproduced"
    assert mine.recomputed == "yes: 1.34 to 1.40×"
    assert mine.ours[GPU.name].startswith("1.35 to 1.41× [")


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("reports/*/results.jsonl")), ids=lambda path: path.parent.name
)
def test_the_committed_records_are_judged(path):
    records, _ = read(path)
    found = [each for each in devices.of(path.parent.name, records) if each.latest]
    pages = everything(*found)
    assert len(pages["claims.md"].decode().splitlines()) < 300
    verdicts = {each.verdict for each in claims.judge(found)}
    assert verdicts <= set(VERDICTS)
    for each in claims.judge(found):  # no verdict without an interval
        for one in each.devices:
            measured = [part.found.estimate for part in one.parts if part.found.estimate]
            assert measured or one.verdict == "not measured"
        assert bool(each.claim.untested) == (each.verdict == "not tested")


def share_reproduced(effect, noise, rounds, claimed=1.62):
    """The share of simulated trials in which a ratio with this effect is "reproduced"."""
    draw = np.random.default_rng(rounds)
    trials = draw.normal(math.log(effect), noise, (400, rounds)).tolist()
    found = [verdict_of(of_pairs(logs, ""), BEYOND, claimed) for logs in trials]
    return found.count("reproduced") / len(found)


@pytest.mark.parametrize("rounds", [4, 6, 12])
def test_noise_reproduces_no_claim(rounds):
    assert share_reproduced(1.30, 0.2, rounds) <= 0.05
    assert share_reproduced(1.30, 0.05, rounds) <= 0.05
    assert share_reproduced(1.62, 0.03, rounds) >= 0.9

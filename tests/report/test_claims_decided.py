"""Every claim is decided both ways: by the paper's numbers as records, reversed, noisy, or none."""

import msgspec
import pytest
import torch
from support.claims import CPU, NOISE, SIZES, claim, in_print, judged, on, rounds_on
from support.profiles import profile
from support.records import GPU, measurement

from bench import paper
from bench.models.build import build
from bench.models.operators import operators
from bench.records import Case, Chip, Cost, ProfileRow, Utilisation, Waterfall
from bench.report.claims import catalogue, memory, verdicts
from bench.report.claims.evidence import Place
from bench.report.claims.pairs import rival
from bench.report.claims.quantities import Ratio
from bench.report.claims.words import contradicting, own_tables

T = SIZES[0]
EDGE = Chip("orin", "edge", "Test board", threads=8, facts={})
CHIPS = {"gpu": GPU, "cpu": CPU, "edge": EDGE}
QUIET, LOUD = (0.9999, 1.0, 1.0001), (0.2, 1.0, 5.0)
IN_TABLES = [  # claims whose every quantity is a ratio of two numbers of the paper
    each
    for each in catalogue.claims()
    if each.quantities
    and all(isinstance(q, Ratio) and q.reported() is not None for q in each.quantities)
]


def printed_ms(pair):
    """The milliseconds of a call, of both networks of a ratio, by what the paper's table prints."""
    for place in (pair.slow, pair.fast):
        row = paper.find(pair.table, pair.device, place.model, place.form)
        of_batch = 1e3 * place.batch / (row.throughput_img_s or 1)
        yield place, row.latency_ms if place.batch == 1 else of_batch


def measured_as(each, noise, *, reverse=False):
    """A device of the claim's kind that measured what the paper's tables print, or 100 / it."""
    chip = CHIPS[each.kind]
    known = dict(found for pair in each.quantities for found in printed_ms(pair))
    records = []
    for index, (place, ms) in enumerate(known.items()):
        factors = noise[index % 3 :] + noise[: index % 3]
        fields = {"batch": place.batch, "resolution": place.resolution}
        name = f"{place.model}@{place.form}"
        records.append(rounds_on(chip, name, 100 / ms if reverse else ms, factors, **fields))
    return on(chip, *records)


def nothing_on(chip):
    """A device that measured a network of no table."""
    return on(chip, rounds_on(chip, "timm/resnet18", 10.0))


def verdict(each, *found):
    (result,) = verdicts.judge([each], found)
    return result.verdict


@pytest.mark.parametrize("each", IN_TABLES, ids=lambda each: each.number)
def test_a_claim_about_ratios_is_decided_by_records(each):
    (own,) = verdicts.judge([each], [])
    expected = {True: "reproduced", False: "not reproduced", None: "undecided"}[own.paper_agrees]
    assert verdict(each, measured_as(each, QUIET)) == expected
    assert verdict(each, measured_as(each, QUIET, reverse=True)) == "not reproduced"
    assert verdict(each, measured_as(each, LOUD)) == "undecided"
    assert verdict(each, nothing_on(CHIPS[each.kind])) == "not measured"


def test_most_claims_are_about_ratios_of_the_tables():
    assert {8, 26, 47, 48, 49, 50, 52, 53, 54, 55, 60, 61} < {each.number for each in IN_TABLES}


# What the tables give for the claims, worked out by hand.


def test_rrep_fc_against_the_networks_of_its_size():
    title = "rRep-fc has the highest throughput of the networks of its size"
    small = [
        1548,
        911,
        2723,
        674,
        1326,
        1952,
    ]  # ResNet50, EffNet-B5, DeiT-S, MaxViT, Swin, ConvNeXt
    middle = [912, 637, 857, 1251, 1140]  # ResNet101, ResNet152, Swin-S, ConvNeXt-S, RepVGG-B1
    large = [1183, 663, 914, 482, 230]  # DeiT-B, Swin-B, ConvNeXt-B, RepVGG-B2, RepLKNet-31B
    expected = [2052 / r for r in small] + [1289 / r for r in middle] + [919 / r for r in large]
    assert in_print(title) == pytest.approx(expected)
    found = judged(title)
    assert own_tables(found) == "no: 13 of 16"
    against = contradicting(found)
    assert "RepNeXt-u3-T-rRep-fc / DeiT-S, img/s 0.754×" in against
    assert "RepNeXt-u3-B-rRep-fc / DeiT-B, img/s 0.777×" in against
    assert "RepNeXt-u3-B-rRep-fc / ConvNeXt-B, img/s 1.01×" in against  # 919 and 914: no difference


def test_regular_reparameterisation_and_throughput():
    title = "Regular re-parameterisation raises throughput on {}"
    assert in_print(title.format("a GPU")) == pytest.approx([1150 / 896, 561 / 492, 354 / 316])
    assert in_print(title.format("a CPU")) == pytest.approx([504 / 415])
    assert in_print(title.format("an edge board")) == pytest.approx([253 / 173])
    assert claim(title.format("a CPU")).said == "415 → 504 img/s"
    for on_what in ("a GPU", "a CPU", "an edge board"):
        assert judged(title.format(on_what)).paper_agrees is True


def test_the_repunits_as_trained():
    slight = "The latencies of the three RepUnits as trained differ slightly"
    assert in_print(slight)[:3] == pytest.approx([10.4 / 12.2, 10.4 / 11.9, 12.2 / 10.4])
    assert len(in_print(slight)) == 12
    assert own_tables(judged(slight)) == "no: 8 of 12"  # u1 is 13 to 16 % below the others
    units = [row for row in paper.reported() if row.table in (2, 3) and "repnext" in row.model]
    trained = [row for row in units if row.form == "train"]
    for table in (2, 3):
        counts = [row.gmacs for row in trained if row.table == table]
        assert max(counts) / min(counts) < 1.05
    assert {row.params_m for row in trained} == {29}
    order = "RepUnit1 costs least as trained and RepUnit2 most: u1 < u3 < u2"
    high = [11.9 / 10.4, 12.2 / 11.9, 12.2 / 10.4]
    low = [12.6 / 10.8, 12.8 / 10.8]  # 12.8 and 12.6 ms differ by 1.6 %
    assert in_print(order) == pytest.approx([*high, *low])
    assert judged(order).paper_agrees is True
    assert "claims 65 to 69 are about the training step" in claim(order).note


def test_the_repunits_differ_slightly_if_they_are_within_10_per_cent():
    slight = "The latencies of the three RepUnits as trained differ slightly"
    units = {"repnext_u1_t": 10.0, "repnext_u2_t": 10.8, "repnext_u3_t": 10.5}
    records = [
        rounds_on(GPU, f"{model}@train", ms, QUIET, resolution=pixels)
        for model, ms in units.items()
        for pixels in (224, 64)
    ]
    assert judged(slight, on(GPU, *records)).verdict == "reproduced"


def test_against_the_networks_of_tables_2_and_3():
    title = "RepNeXt is faster than ResNet50, ViT-B and ConvNeXt-T at {} pixels"
    assert in_print(title.format(224)) == pytest.approx([9.3 / 6.4, 12.1 / 6.4, 10.7 / 6.4])
    assert in_print(title.format(64)) == pytest.approx([10.6 / 6.3, 12.3 / 6.3, 10.9 / 6.3])
    assert judged(title.format(64)).paper_agrees is True


def test_against_most_networks_of_table_6():
    title = "RepNeXt is faster than most networks on {}"
    rivals_on_cpu = [33.9 / 36.7, 38.1 / 36.7, 101.3 / 36.7, 41.7 / 36.7]
    assert in_print(title.format("a CPU")) == pytest.approx(rivals_on_cpu)
    assert own_tables(judged(title.format("a CPU"))) == "yes: 3 of 4"
    rivals_on_board = [13.35 / 9.3, 14.99 / 9.3, 20.68 / 9.3, 12.36 / 9.3]
    assert in_print(title.format("an edge board")) == pytest.approx(rivals_on_board)


@pytest.mark.parametrize("model", ["repvgg_b2", "replknet_31b", "repghost_2_0x", "maxvit_t"])
def test_the_form_of_a_rival_is_the_last_one_of_the_papers_row(model):
    forms = [row.form for row in paper.reported() if (row.table, row.model) == (4, model)]
    assert rival(model) == Place(model, forms[-1])


# Throughput.


@pytest.mark.parametrize(
    ("convolved", "verdict_here"),
    [((14.0, NOISE), "reproduced"), ((8.0, NOISE), "not reproduced"), ((10.0, LOUD), "undecided")],
)
def test_fully_connected_layers_and_convolutions_in_convnext(convolved, verdict_here):
    title = "Fully connected layers raise ConvNeXt's throughput over pointwise convolutions"
    records = [
        rounds_on(GPU, "lc2pwconv_t", *convolved, batch=128),
        rounds_on(GPU, "convnext_t", 10.0, batch=128),
    ]
    assert judged(title, on(GPU, *records)).verdict == verdict_here
    assert judged(title).paper_agrees is None  # Table 5 has no throughput
    at_batch_1 = [rounds_on(GPU, "lc2pwconv_t", 14.0), rounds_on(GPU, "convnext_t", 10.0)]
    assert judged(title, on(GPU, *at_batch_1)).verdict == "not measured"


SINGLE = "Merged shortcuts are more suitable for batch 1 than for batch 128"


def both_batches(one, many, noise=NOISE, chip=GPU):
    """rRep and sRep in every size; sRep takes 10 ms, rRep `one` times that, or `many` at 128."""
    return on(
        chip,
        *(
            rounds_on(chip, f"{model}@{form}", ms, factors, batch=batch)
            for model in SIZES
            for batch, ratio in ((1, one), (128, many))
            for form, ms, factors in (("rrep", 10 * ratio, noise), ("srep", 10, (1.0,) * 3))
        ),
    )


def test_batch_1_against_batch_128_in_the_table():
    small = (8.5 / 6.4) / (639 / 1150)
    middle, large = (15.3 / 11.1) / (335 / 561), (16.0 / 14.5) / (207 / 354)
    assert in_print(SINGLE) == pytest.approx([small, middle, large])
    assert own_tables(judged(SINGLE)) == "yes: 1.89 to 2.39×"


@pytest.mark.parametrize(
    ("one", "many", "noise", "verdict_here"),
    [
        (1.33, 0.55, NOISE, "reproduced"),
        (0.7, 0.3, NOISE, "reproduced"),  # slower at both batches, and less so at batch 1
        (1.3, 1.1, NOISE, "same direction"),
        (0.6, 0.9, NOISE, "not reproduced"),
        (1.0, 1.0, LOUD, "undecided"),
        (1.33, 0.55, (1.0,), "not measured"),
    ],
)
def test_batch_1_against_batch_128(one, many, noise, verdict_here):
    found = judged(SINGLE, both_batches(one, many, noise))
    assert found.verdict == verdict_here
    part = found.devices[0].parts[0].found
    if verdict_here != "undecided":
        assert part.point == pytest.approx(one / many, rel=0.02)
    if part.estimate:
        assert part.estimate.low < part.estimate.point < part.estimate.high
        assert part.rounds == 3


def test_the_interval_over_batches_takes_the_outer_ends():
    (one, many) = (
        judged(title, both_batches(1.33, 0.55)).devices[0].parts[0].found.estimate
        for title in (
            "Merging the shortcuts too speeds up a GPU “substantially”",
            "Merging the shortcuts costs throughput on a GPU",
        )
    )
    whole = judged(SINGLE, both_batches(1.33, 0.55)).devices[0].parts[0].found.estimate
    # throughput(rRep) / throughput(sRep) is the inverse of the gain at batch 128
    assert whole.low == pytest.approx(one.low * many.low)
    assert whole.high == pytest.approx(one.high * many.high)
    without = [rounds_on(GPU, f"{m}@{f}", 10.0) for m in SIZES for f in ("rrep", "srep")]
    found = judged(SINGLE, on(GPU, *without))
    assert "RepNeXt-u3-T-rRep at batch 128 is not on record" in found.why


# Memory.


def test_the_bytes_of_the_added_weights(monkeypatch):
    title = "The parameters that merging shortcuts adds occupy memory: bytes of weights"
    assert in_print(title) == pytest.approx([100 * (52 / 29 - 1), 84.0, 100 * (163 / 89 - 1)])
    found = judged(title)
    assert (found.verdict, found.paper_agrees) == ("reproduced", True)
    ours = found.devices[0].parts[0].found
    assert ours.point == 206_190_880 / 114_264_736
    assert ours.exact
    same = paper.Counted(T, "rrep", 1, 1, 4, 1, biases=0, normalised=0, activated=0, pooled=0)
    monkeypatch.setattr(memory, "counted", lambda model, form: same)
    assert judged(title).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("peaks", "verdict_here"),
    [
        ((200, 201, 200), "reproduced"),
        ((90, 91, 90), "not reproduced"),
        ((50, 100, 200), "undecided"),
    ],
)
def test_the_peak_with_the_added_weights(peaks, verdict_here):
    title = "The parameters that merging shortcuts adds occupy memory: peak with weights"

    def held(form, batch, totals):
        return [
            each
            for model in SIZES
            for number, total in enumerate(totals, 1)
            for each in [
                measurement(
                    Case(model, form, device="cuda", threads=8, batch=batch),
                    number,
                    environment_id=GPU.name,
                    cost=Cost(weight_bytes=80, peak_memory_bytes=total, peak_reserved_bytes=999),
                )
            ]
        ]

    records = [
        held(form, batch, totals)
        for batch in (1, 128)
        for form, totals in (("rrep", (100, 100, 100)), ("srep", peaks))
    ]
    assert judged(title, on(GPU, *records)).verdict == verdict_here
    assert judged(title, nothing_on(GPU)).verdict == "not measured"


# Profiles.


def profiles_of(model, form, shares, *, used=None):
    """A profile for each of three processes; `shares` are the shares of a latency of 10 ms."""
    setting = {"device": "cuda", "threads": 8, "environment_id": GPU.name}
    made = []
    for number, wobble in enumerate(NOISE, 1):
        rows = [ProfileRow("op", "m", c, 1, 0.01 * s * wobble) for c, s in shares.items()]
        busy = sum(row.time_s for row in rows)
        made.append(
            profile(
                model,
                form,
                round=number,
                rows=rows,
                waterfall=Waterfall(0.01, busy, 0.01 - busy, 0.0, 0.0, 1e-4, 1e-4),
                utilisation=used(wobble) if used else Utilisation(),
                **setting,
            )
        )
    return made


@pytest.mark.parametrize(
    ("share", "verdict_here"),
    [(0.2, "reproduced"), (0.01, "not reproduced"), (0.05, "undecided")],
)
def test_the_dimension_transforms_of_convnext(share, verdict_here):
    title = "ConvNeXt's fragmented dimension transforms take much of its latency"
    records = profiles_of("convnext_t", "plain", {"dimension transform": share})
    assert judged(title, on(GPU, records)).verdict == verdict_here
    assert judged(title, nothing_on(GPU)).why == "no profile of ConvNeXt-T"


@pytest.mark.slow
def test_the_transforms_of_convnext_are_views_and_its_convolutions_need_as_many():
    pixels = 64

    def of(model):
        net = build(model, "plain", resolution=pixels).eval()
        found = operators(net, [torch.zeros(1, 3, pixels, pixels)])
        return [each for each in found if each.category == "dimension transform"]

    convnext, convolved, normed = map(of, ("convnext_t", "lc2pwconv_t", "ln2bn_t"))
    assert not any(each.bytes for each in convnext)
    permutes = [sum(each.name == "permute" for each in found) for found in (convnext, convolved)]
    assert permutes[0] == permutes[1] > 40
    assert len(normed) == 1


def turned(made):
    """The profiles with other numbers of their rounds, so that they vary apart from others."""
    numbered = zip((2, 3, 1), made, strict=True)
    return [msgspec.structs.replace(each, round=number) for number, each in numbered]


CHEAPER = "A convolution is cheaper than the addition that it replaces"


@pytest.mark.parametrize(
    ("merged", "verdict_here"),
    [
        ({"pointwise conv": 0.4, "depthwise or group conv": 0.1}, "reproduced"),
        ({"pointwise conv": 0.6, "depthwise or group conv": 0.2}, "not reproduced"),
        ({"pointwise conv": 0.49, "depthwise or group conv": 0.1}, "undecided"),
    ],
)
def test_the_convolution_that_replaces_an_addition(merged, verdict_here):
    before = {"pointwise conv": 0.4, "depthwise or group conv": 0.1, "addition": 0.1}
    later = turned(profiles_of(T, "srep", merged))
    records = [*profiles_of(T, "rrep", before), *later]
    found = judged(CHEAPER, on(GPU, records))
    assert found.verdict == verdict_here
    total = 0.6 / sum(merged.values())
    assert found.devices[0].parts[0].found.point == pytest.approx(total, rel=0.001)
    others = {**before, "activation": 0.3}  # other operators do not count
    alone = [*profiles_of(T, "rrep", others), *records[3:]]
    assert judged(CHEAPER, on(GPU, alone)).devices[0].parts[0].found.point == pytest.approx(
        total, rel=0.001
    )
    assert judged(CHEAPER, nothing_on(GPU)).why.startswith("no profile of RepNeXt-u3-T-rRep")


@pytest.mark.parametrize(
    ("fill", "sampled", "verdict_here"),
    [
        (0.6, 0.8, "reproduced"),
        (0.6, 0.4, "not reproduced"),
        (0.2, 0.8, "not reproduced"),
        (0.41, 0.8, "undecided"),
        (0.6, None, "not measured"),
    ],
)
def test_merging_the_shortcut_alone_raises_utilisation(fill, sampled, verdict_here):
    title = "Merging the shortcuts alone raises the utilisation of a GPU"

    def used(sm_fill, driver):
        return lambda wobble: Utilisation(
            sm_fill=sm_fill * wobble, sampled=driver and driver * wobble
        )

    shares = {"pointwise conv": 0.5}
    records = [
        *profiles_of(T, "rrep", shares, used=used(0.4, 0.5)),
        *turned(profiles_of(T, "srep", shares, used=used(fill, sampled))),
    ]
    assert judged(title, on(GPU, records)).verdict == verdict_here
    trained = profiles_of(T, "train", shares, used=used(0.4, 0.5))
    assert judged(title, on(GPU, trained, records[3:])).verdict == "not measured"

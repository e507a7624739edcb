"""Our counts next to the paper's, in three conventions, and the reasons where they differ."""

import csv

import pytest
import torch

from bench import models, paper
from bench.models import cost, zoo
from bench.paper import tables

FOUR = [row for row in paper.reported() if row.table == 4 and row.params_m]
COUNTED = {(row.model, row.form): row for row in paper.counted()}


def agrees(ours, printed):
    return round(ours, len(f"{printed:g}".partition(".")[2])) == printed


@pytest.mark.parametrize("row", FOUR, ids=lambda row: f"{row.model}@{row.form}")
def test_parameters_and_macs_identify_the_papers_network(row):
    ours = COUNTED[row.model, row.form]
    if (row.model, row.form) not in paper.DIFFERENCES:
        conventions = (ours.macs, ours.as_ptflops, ours.as_thop)
        assert agrees(ours.params / 1e6, row.params_m)
        assert any(agrees(macs / 1e9, row.gmacs) for macs in conventions)


@pytest.mark.parametrize(
    ("name", "form", "gmacs"),
    [
        ("resnet50", "plain", 4.12),  # the first three are in the README of ptflops 0.6.9
        ("resnet101", "plain", 7.85),
        ("resnet152", "plain", 11.58),
        ("repvgg_b1", "train", 13.16),
        ("repvgg_b2", "train", 20.46),
        ("replknet_31b", "train", 15.54),
    ],
)
def test_macs_with_small_operators_are_those_of_ptflops(name, form, gmacs):
    assert round(COUNTED[name, form].as_ptflops / 1e9, 2) == gmacs


@pytest.mark.parametrize(
    ("name", "form", "macs"),
    [  # printed by thop 0.1.1.post2209072238 for the networks of this zoo
        ("resnet101", "plain", 7_866_435_584),
        ("repnext_u2_t", "train", 4_557_555_456),
        ("repnext_u3_s", "train", 8_757_060_864),
        ("repnext_u3_b", "train", 15_452_527_616),
        ("repnext_u3_t", "srep", 8_202_249_216),
    ],
)
def test_macs_with_batch_norm_are_those_of_thop(name, form, macs):
    # thop counts maximum pooling as 0, and one more operation for each output of average pooling.
    assert COUNTED[name, form].as_thop == pytest.approx(macs, abs=1e6)


def test_vit_b_without_attention_products_has_the_papers_macs_and_its_blocks_the_parameters():
    with torch.device("meta"):
        net = models.build("vit_b")
    ours = COUNTED["vit_b", "plain"]
    tokens, width = 14 * 14 + 1, 768
    assert cost.count_params(net.blocks) == 12 * (12 * width**2 + 13 * width)  # 85.05 M
    assert agrees(cost.count_params(net.blocks) / 1e6, 85)
    products = 12 * 2 * tokens**2 * width
    assert agrees((ours.macs - products + ours.biases) / 1e9, 16.9)


def test_repghost_as_its_official_code_merges_it_has_the_papers_macs():
    assert agrees(COUNTED["repghost_2_0x", "deploy"].as_thop / 1e9, 0.535)
    assert not agrees(COUNTED["repghost_2_0x", "rrep"].as_thop / 1e9, 0.535)


def test_the_parameters_of_replknet_are_as_the_reason_says():
    deploy, rrep = (COUNTED["replknet_31b", form] for form in ("deploy", "rrep"))
    reason = paper.DIFFERENCES["replknet_31b", "deploy"]
    for row in (deploy, rrep):
        assert f"{row.params / 1e6:.2f} M" in reason
    params, gmacs = paper.counts_of("replknet_31b", "deploy")
    assert int(deploy.params / 1e6) == params
    assert agrees(rrep.params / 1e6, params)
    assert agrees(deploy.macs / 1e9, gmacs)


def test_only_the_official_forms_differ_from_the_file_of_the_papers_numbers():
    with tables.REPORTED_FILE.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    renamed = {
        (line["model"], line["form"]): row.form
        for line, row in zip(lines, paper.reported(), strict=True)
        if (line["model"], line["form"]) != (row.model, row.form)
    }
    assert renamed == tables.OFFICIAL
    assert {model for model, _ in renamed} == {
        spec.name for spec in zoo.ZOO.values() if "deploy" in spec.forms
    }


@pytest.mark.parametrize(
    ("name", "width", "gmacs"), [("repnext_u3_t", 96, 4.44), ("repnext_u3_b", 128, 15.34)]
)
def test_macs_without_the_stem_are_as_the_reason_says(name, width, gmacs):
    stem = 56 * 56 * width * 3 * 4 * 4
    without = (COUNTED[name, "rrep"].macs - stem) / 1e9
    assert round(without, 2) == gmacs
    assert f"({gmacs} G)" in paper.DIFFERENCES[name, "rrep"]
    assert agrees(without, paper.counts_of(name, "rrep")[1])


def test_every_explained_difference_is_of_a_model_in_the_zoo():
    pairs = {(row.model, row.form) for row in paper.counted()}
    assert set(paper.DIFFERENCES) <= pairs

"""Cases that differ in name only: every report tests itself with them."""

import msgspec
from support.records import ENVIRONMENT, OBSERVED, TAKEN, rounds

from bench.analysis import rows
from bench.analysis.twins import twins, were_told_apart
from bench.report.tables import results

CLOSE = (10.0, 10.1, 9.9)
FAR = (12.0, 12.1, 11.9)


def table_of(*cases):
    """Rows of cases: (model, milliseconds of each round, structure, changes)."""
    found = [
        each
        for model, latencies_ms, structure, *changes in cases
        for each in rounds(
            model,
            latencies_ms=latencies_ms,
            structure=structure,
            **dict(*changes or ({},)) | OBSERVED,
        )
    ]
    return rows.of([ENVIRONMENT, *found])


def names(pairs):
    return [(each.base.model, each.candidate.model) for each in pairs]


def test_networks_of_one_structure_are_compared():
    table = table_of(("deit_b", CLOSE, "s"), ("resnet50", FAR, "r"), ("vit_b", CLOSE, "s"))
    assert names(twins(table)) == [("deit_b", "vit_b")]
    assert not were_told_apart(twins(table))
    assert "0 of 1 pairs were told apart." in results.to_markdown(table)


def test_twins_that_were_told_apart_are_named():
    table = table_of(("deit_b", CLOSE, "s"), ("vit_b", FAR, "s"), ("swin_t", CLOSE, "s"))
    assert names(were_told_apart(twins(table))) == [("deit_b", "vit_b"), ("vit_b", "swin_t")]
    page = results.to_markdown(table)
    assert "2 of 3 pairs were told apart:" in page
    assert "- vit_b against deit_b, batch 1: 20 % slower, 95 % interval" in page


def test_lines_name_the_settings_in_which_cases_differ():
    page = results.to_markdown(
        table_of(
            ("deit_b", CLOSE, "s"),
            ("vit_b", FAR, "s"),
            ("deit_b", CLOSE, "s", {"resolution": 64, "threads": 1}),
        )
    )
    assert "- vit_b against deit_b, batch 1, 224×224 pixels, 2 threads: 20 % slower" in page
    alike = results.to_markdown(table_of(("deit_b", CLOSE, "s"), ("vit_b", FAR, "s")))
    assert "- vit_b against deit_b, batch 1: 20 % slower" in alike


def test_another_setting_makes_no_twin():
    table = table_of(
        ("deit_b", CLOSE, "s"),
        ("vit_b", CLOSE, "s", {"batch": 2}),
        ("swin_t", CLOSE, "s", {"threads": 1}),
    )
    assert not twins(table)
    assert "differ in name only" not in results.to_markdown(table)


def test_one_round_decides_nothing():
    assert not twins(table_of(("deit_b", (10.0,), "s"), ("vit_b", (10.0,), "s")))


def test_invalid_rows_have_no_twin():
    found = [
        msgspec.structs.replace(each, conditions=TAKEN)
        for model in ("deit_b", "vit_b")
        for each in rounds(model, latencies_ms=CLOSE, structure="s", **OBSERVED)
    ]
    assert not twins(rows.of([ENVIRONMENT, *found]))

"""The paper's Tables 2-6 with our numbers. Expected text is in tests/golden."""

import csv
import io

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import GOLDEN
from support.records import BUSY, CHIP, ENVIRONMENT, failure
from support.results import device
from support.table_rows import BOTH, thrice

from bench import paper
from bench.harness import suite
from bench.records import Case, Cost
from bench.report import devices
from bench.report.tables import paper_tables
from bench.report.tables.layouts import LAYOUTS


def lines(pages, number):
    return list(csv.DictReader(io.StringIO(pages[f"table{number}.csv"].decode())))


def rows_of(pages, number):
    """Cells of the Markdown table by the name of its line and its heading."""
    text = pages[f"table{number}.md"].decode().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text if "|" in line]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


@pytest.mark.parametrize("name", ["table4.md", "table6.md", "table6.csv", "table6.tex"])
def test_text_matches_the_golden_file(name):
    assert paper_tables.render(BOTH)[name].decode() == (GOLDEN / name).read_text()


def test_all_five_tables_in_three_formats_the_same_bytes_each_time():
    pages = paper_tables.render(BOTH)
    assert list(pages) == [f"table{n}.{kind}" for n in range(2, 7) for kind in ("md", "csv", "tex")]
    assert paper_tables.render(BOTH) == pages


def test_a_single_device_gets_only_tables_with_its_rows():
    assert paper_tables.measured_on(BOTH[1]) == [2, 4, 5, 6]
    only = device([failure(Case("vit_b", "plain", threads=2, resolution=64))])
    assert paper_tables.measured_on(only) == [3]
    assert set(paper_tables.render([only], only=[3])) == {"table3.md", "table3.csv", "table3.tex"}
    assert paper_tables.measured_on(device(thrice("timm/resnet18"))) == []


def test_models_are_in_the_papers_order():
    for layout in LAYOUTS:
        printed = dict.fromkeys(
            name.split("@")[0] for name in suite.load(f"table{layout.number}").models
        )
        assert list(dict.fromkeys(line.model for line in layout.lines)) == list(printed)


def test_reported_numbers_are_the_papers():
    pages = paper_tables.render(BOTH)
    seen = 0
    for number in range(2, 7):
        for line in lines(pages, number):
            for key in ("a100", "xeon_8260", "orin"):
                if f"{key}_latency_ms_paper" not in line:
                    continue
                row = paper.find(number, key, line["model"], line["form"])
                told = {f"{key}_latency_ms": row.latency_ms, "top1": row.top1}
                told |= {"params_m": row.params_m, "gmacs": row.gmacs} if number != 5 else {}
                told |= {f"{key}_latency_std_ms": row.latency_std_ms} if number == 5 else {}
                told |= {f"{key}_img_s": row.throughput_img_s} if number in (4, 6) else {}
                shown = {name: line[f"{name}_paper"] for name in told}
                assert shown == {n: "" if v is None else f"{v:g}" for n, v in told.items()}
                seen += 1
    assert seen == len(paper.reported())


def test_chains_are_printed_as_in_the_paper():
    pages = paper_tables.render([])
    theirs = rows_of(pages, 4)["RepNeXt-u3-B"]
    assert theirs["Params (M), paper"] == "89 →r 89 →s 163"
    assert theirs["A100, paper: Latency (ms)"] == "22.4 →r 16.0 →s 14.5"
    assert theirs["A100, paper: Throughput (img/s)"] == "316 →r 354 (919) →s 207"
    ablation = rows_of(pages, 5)["RepNeXt-u3-T"]
    assert ablation["A100, paper: Latency (ms)"] == "11.9 ± 3.0 →s 6.4 ± 1.6"
    assert ablation["Rep."] == "✓"
    assert rows_of(pages, 3)["RepNeXt-u1-T"]["MACs (G), paper"] == "0.36 →s 0.67"


def test_the_arrow_of_repghost_leads_to_the_official_form_and_never_to_rrep():
    records = [*thrice("repghost_2_0x", "train", ms=8), *thrice("repghost_2_0x", "rrep", ms=4)]
    own = "Test Chip 9000, 2 threads: Latency (ms)"
    for more, ours in (
        ([], "8.02 →r –"),
        (thrice("repghost_2_0x", "deploy", ms=6), "8.02 →r 6.01"),
    ):
        pages = paper_tables.render([device([*records, *more])], only=[4])
        row = rows_of(pages, 4)["RepGhost-2.0x"]
        assert row["A100, paper: Latency (ms)"] == "8.4 →r 6.4"
        assert row[own] == ours
        assert "Results of rrep are not in this table." in pages["table4.md"].decode()


def test_the_papers_numbers_keep_their_zeros():
    pages = paper_tables.render([])
    assert rows_of(pages, 4)["EffNet-B3"]["MACs (G), paper"] == "1.0"
    assert rows_of(pages, 4)["RepVGG-B2"]["A100, paper: Latency (ms)"] == "15.4 →r 11.0"
    assert rows_of(pages, 5)["Shortcut-act-B"]["A100, paper: Latency (ms)"] == (
        "16.0 ± 3.1 →s 14.5 ± 2.2"
    )
    assert "EffNet-B3 & $12$ & $1.0$ & " in pages["table4.tex"].decode()


def test_mean_and_deviation_have_a_column_of_their_own_in_tables_5_and_6():
    pages = paper_tables.render([device(thrice("convnext_t", ms=60))])
    name = "Test Chip 9000, 2 threads"
    rows = [rows_of(pages, number)["ConvNeXt-T"] for number in (2, 4, 5, 6)]
    assert [row[f"{name}: Latency (ms)"] for row in rows] == ["60.1"] * 4
    spread = f"{name}: Mean ± std of all iterations (ms)"
    assert [row.get(spread) for row in rows] == [None, None, "60.3 ± 2.9", "60.3 ± 2.9"]
    (line,) = [line for line in lines(pages, 4) if line["model"] == "convnext_t"]
    assert float(line["test_chip_9000_latency_low_ms"]) < 60.1
    assert float(line["test_chip_9000_latency_high_ms"]) > 60.1
    numbers = [float(line[f"test_chip_9000_latency_{key}ms"]) for key in ("", "mean_", "std_")]
    assert numbers == pytest.approx([60.12, 60.3204, 2.86941], rel=1e-4)


def test_ranks_are_places_among_the_rows_of_the_table_alone():
    named = {"resnet50": 59.2, "convnext_t": 59.3, "deit_b": 20.0, "mobilenetv3_l": 9.0}
    records = [record for model, ms in named.items() for record in thrice(model, ms=ms)]
    pages = paper_tables.render([device(records, thrice("swin_t", ms=80))])
    ranks = {line["model"]: line["test_chip_9000_rank"] for line in lines(pages, 6)}
    assert ranks["mobilenetv3_l"] == "1"
    assert ranks["resnet50"] == ranks["convnext_t"] == "2–3"
    assert ranks["swin_t"] == "4"
    assert {line["test_chip_9000_rank"] for line in lines(pages, 4)} == {"", "1", "2", "3–4", "5"}


def test_networks_of_one_structure_are_named_below_the_table():
    def same(model, structure, form="plain"):
        return [
            msgspec.structs.replace(each, structure=structure)
            for each in thrice(model, form, ms=20.0)
        ]

    merged = [*same("repnext_u3_t", "s", "srep"), *same("shortcut_act_t", "s", "srep")]
    pages = paper_tables.render([device(merged, same("convnext_t", "c"))])
    said = (
        "- The same network under several names on Test Chip 9000, 2 threads: "
        "RepNeXt-u3-T-sRep, Shortcut-act-T-sRep. Their true ratio is 1."
    )
    assert said in pages["table5.md"].decode()
    assert "several names" not in pages["table6.md"].decode()


def test_missing_failed_and_unfinished_cases_are_labelled():
    pages = paper_tables.render(BOTH)
    name = "Test Chip 9000, 2 threads"
    chain = rows_of(pages, 4)["RepNeXt-u3-T"]
    assert chain[f"{name}: Latency (ms)"] == "77.1 →r 51.3§ →s failed (first)"
    assert chain[f"{name}: Throughput (img/s)"] == "– →r 16.0 (19.7) →s failed (first)"
    assert chain["NVIDIA Test H100: Throughput (img/s)"] == "not measured"
    assert rows_of(pages, 4)["Swin-S"][f"{name}: Rank"] == "–"
    assert rows_of(pages, 6)["ResNet50"][f"{name}: Throughput (img/s)"].endswith("‡")
    assert rows_of(pages, 6)["MobileNetV3-L"][f"{name}: Latency (ms)"] == "failed (check)"
    status = {line["form"]: line for line in lines(pages, 4) if line["model"] == "repnext_u3_t"}
    latency = {form: line["test_chip_9000_status"] for form, line in status.items()}
    assert latency == {
        "train": "measured",
        "rrep": "unfinished",
        "rrep_fc": "",
        "srep": "failed (first)",
    }
    assert status["train"]["test_chip_9000_img_s_status"] == "not measured"
    assert float(status["rrep_fc"]["test_chip_9000_img_s"]) == pytest.approx(19.65, abs=0.01)


def test_footnotes_merge_reasons_that_differ_only_in_numbers():
    text = paper_tables.render(BOTH)["table6.md"].decode()
    assert "other processes used 13 to 20 % of the CPUs (Swin-T, ConvNeXt-T)" in text
    assert (
        "INVALID on Test Chip 9000, 2 threads: other processes used 50 % of the CPUs (ResNet50 at"
        in text
    )
    many = [record for model in PLAIN for record in thrice(model, conditions=BUSY)]
    text = paper_tables.render([device(many)])["table4.md"].decode()
    assert "other processes used 13 % of the CPUs (ResNet50, " in text
    assert f"and {len(PLAIN) - 6} more)" in text
    assert len([line for line in text.splitlines() if line.startswith("- †")]) == 1


PLAIN = ["resnet50", "resnet101", "resnet152", "deit_s", "deit_b", "swin_t", "swin_s", "swin_b"]


def test_a_table_without_doubts_has_no_footnotes():
    text = paper_tables.render([device(thrice("vit_b", ms=20))])["table2.md"].decode()
    assert "\n- " not in text
    assert "†" not in text


def test_devices_without_a_row_have_no_columns_and_are_named():
    pages = paper_tables.render(BOTH)
    assert "H100" not in pages["table3.md"].decode().split("Columns whose heading says")[0]
    assert (
        pages["table3.md"].decode().endswith("Not measured on: Test Chip 9000, NVIDIA Test H100.\n")
    )
    assert "test_chip" not in pages["table3.csv"].decode()
    assert "Params (M) " not in pages["table3.md"].decode().replace("Params (M), paper", "")


def test_ours_follow_the_papers_device_of_their_kind_and_others_come_last():
    chip = msgspec.structs.replace(CHIP, kind="", name="fake")
    fake = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    pages = paper_tables.render([device(thrice("resnet50"), environment=fake), *reversed(BOTH)])
    (titles,) = {tuple(row) for row in rows_of(pages, 6).values()}
    groups = dict.fromkeys(title.rpartition(":")[0] for title in titles if ":" in title)
    assert list(groups) == [
        "Xeon 8260, paper",
        "Test Chip 9000, 2 threads",
        "A100, paper",
        "NVIDIA Test H100",
        "Jetson Orin, paper",
        "fake",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "compile"},
        {"precision": "fp16"},
        {"resolution": 288},
        {"batch": 2},
        {"input": "3x160x224"},
    ],
)
def test_other_settings_are_not_the_papers(changes):
    own = device(thrice("swin_t", ms=77), thrice("resnet50", ms=33, **changes))
    line = rows_of(paper_tables.render([own]), 6)["ResNet50"]
    assert line["Test Chip 9000, 2 threads: Latency (ms)"] == "not measured"


def test_tables_use_the_default_threads_or_else_the_last():
    one, two = thrice("resnet50", ms=100, threads=1), thrice("resnet50", ms=60)
    line = rows_of(paper_tables.render([device(two, one)]), 2)["ResNet50"]
    assert line["Test Chip 9000, 2 threads: Latency (ms)"] == "60.1"
    four = thrice("vit_b", ms=50, threads=4)
    found = rows_of(paper_tables.render([device(one, four)]), 2)
    name = "Test Chip 9000, 4 threads: Latency (ms)"
    assert [found[model][name] for model in ("ResNet50", "ViT-B")] == ["not measured", "50.1†"]


def test_a_device_has_one_number_of_threads_in_all_tables():
    one = thrice("resnet50", ms=100, threads=1)
    four = thrice("resnet50", ms=50, threads=4, resolution=64)
    own = device(thrice("timm/resnet18"), one, four)
    assert paper_tables.measured_on(own) == [3]
    alone = device(thrice("timm/resnet18"), one)
    assert paper_tables.measured_on(alone) == [2, 4, 6]
    line = rows_of(paper_tables.render([alone]), 2)["ResNet50"]
    assert line["Test Chip 9000, 1 thread: Latency (ms)"] == "100"


def test_similar_folder_names_get_unique_column_names():
    alike = [device(thrice("resnet50"), slug=slug) for slug in ("a-b", "a_b", "a-b-2", "a-b")]
    (header,) = csv.reader([paper_tables.render(alike)["table6.csv"].decode().splitlines()[0]])
    assert len(set(header)) == len(header)
    latencies = [name for name in header if name.endswith("_latency_ms")]
    assert latencies == [f"a_b{end}_latency_ms" for end in ("", "_2", "_2_2", "_3")]


def test_macs_are_those_at_the_resolution_of_the_table():
    at64 = thrice("resnet50", resolution=64, cost=Cost(params=25_557_032, macs=340_000_000))
    pages = paper_tables.render([device(thrice("resnet50"), at64)])
    assert rows_of(pages, 3)["ResNet50"]["MACs (G)"] == "0.340"
    assert rows_of(pages, 2)["ResNet50"]["MACs (G)"] == "4.46"


def test_names_from_records_are_no_markup():
    chip = msgspec.structs.replace(CHIP, name="<b>a|b*c*</b>\n# x")
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    text = paper_tables.render([device(thrice("resnet50"), environment=environment)])[
        "table2.md"
    ].decode()
    assert r"\<b\>a\|b\*c\*\</b\> \# x, 2 threads: Latency (ms)" in text
    assert "<b>" not in text


@settings(deadline=None)  # a machine may be busy
@given(st.lists(st.sampled_from(["train", "rrep", "srep"]), unique=True), st.booleans())
def test_a_chain_has_a_part_for_each_form_or_says_that_there_is_none(forms, batch):
    batch = 128 if batch else 1
    records = [record for form in forms for record in thrice("repnext_u3_s", form, batch=batch)]
    own = [device(records)] if records else []
    column = "Throughput (img/s)" if batch == 128 else "Latency (ms)"
    found = rows_of(paper_tables.render(own, only=[4]), 4)["RepNeXt-u3-S"]
    cells = [text for title, text in found.items() if title.endswith(f"threads: {column}")]
    assert len(cells) == bool(forms)
    for cell in cells:
        parts = cell.replace("→r", "→").replace("→s", "→").split("→")
        assert [part.strip()[0] != "–" for part in parts] == [
            form in forms for form in ("train", "rrep", "srep")
        ]


def test_allocators_stand_beside_each_other_and_are_ranked_apart():
    arena = {"allocator": "arena"}
    records = [
        *thrice("resnet50", ms=60.0),
        *thrice("swin_t", ms=120.0),
        *thrice("resnet50", ms=40.0, **arena),
        *thrice("swin_t", ms=30.0, **arena),
        *thrice("resnet50", ms=9_000, batch=128, **arena),
    ]
    on_record = devices.by_allocation([device(records)])
    assert [each.label for each in on_record] == ["Test Chip 9000", "Test Chip 9000, arena"]
    pages = paper_tables.render(on_record, only=[4])
    row = rows_of(pages, 4)["ResNet50"]
    ours = [heading for heading in row if heading.startswith("Test Chip")]
    assert [heading.rpartition(":")[0] for heading in ours] == [
        *["Test Chip 9000, 2 threads"] * 3,
        *["Test Chip 9000, arena, 2 threads"] * 3,
    ]
    assert [row[heading] for heading in ours] == ["60.1", "not measured", "1", "40.1", "14.2", "2"]
    line = next(each for each in lines(pages, 4) if each["model"] == "resnet50")
    assert float(line["test_chip_9000_latency_ms"]) == pytest.approx(60.12)
    assert float(line["test_chip_9000_arena_latency_ms"]) == pytest.approx(40.08)


def test_a_device_with_one_allocator_has_one_part():
    assert devices.by_allocation(BOTH) == BOTH

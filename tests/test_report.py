"""Records in, text and pictures out: golden files under tests/golden, reviewed in diffs."""

import csv
import io
from pathlib import Path

import msgspec
import pytest
from conftest import CHIP, ENVIRONMENT, failure, measurement

from bench import paper, report
from bench.errors import UsageError
from bench.records import Case, Cost
from bench.report import figures, rows, tables

GOLDEN = Path(__file__).parent / "golden"


def timed(model, form="plain", ms=10.0, batch=1, **changes):
    case = Case(model, form, batch=batch, threads=2)
    return measurement(case, samples_s=[ms / 1e3 * f for f in (0.95, 1.0, 1.06)], **changes)


RECORDS = [
    ENVIRONMENT,
    timed("resnet50", ms=59.2),
    timed("resnet50", ms=61.0, round_number=2, stopped_by="rounds"),
    timed("resnet50", ms=14_000, batch=128, stopped_by="budget"),
    timed("repnext_u3_t", "train", ms=76.9),
    timed("repnext_u3_t", "rrep_fc", ms=70.1),
    timed("timm/resnet18", ms=20.0, cost=Cost(params=11_689_512, macs=1_814_073_344)),
    failure(Case("repnext_u3_t", "srep", threads=2)),
    failure(Case("timm/<script>", "plain", threads=2), message="a|b"),
]


@pytest.mark.parametrize("name", ["results.md", "results.csv", "table6.md", "table6.csv"])
def test_text_is_that_of_the_golden_file(name):
    assert report.render(RECORDS)[name].decode() == (GOLDEN / name).read_text()


def test_the_same_records_give_the_same_bytes_pictures_too():
    assert report.render(RECORDS) == report.render(RECORDS)


def parsed(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_case_is_a_row_failed_ones_too():
    lines = parsed(tables.results_csv(rows.of(RECORDS)))
    assert [(line["model"], line["form"], line["batch"]) for line in lines] == [
        ("resnet50", "plain", "1"),
        ("resnet50", "plain", "128"),
        ("repnext_u3_t", "train", "1"),
        ("repnext_u3_t", "rrep_fc", "1"),
        ("timm/resnet18", "plain", "1"),
        ("repnext_u3_t", "srep", "1"),
        ("timm/<script>", "plain", "1"),
    ]
    assert [line["failed_at"] for line in lines[-2:]] == ["check", "check"]
    assert lines[-1]["latency_median_s"] == ""


def test_throughput_is_batch_over_median():
    row = rows.of([ENVIRONMENT, timed("resnet50", ms=200, batch=128)])[0]
    assert row.throughput == pytest.approx(640)


def test_table6_keeps_reported_and_measured_apart_and_names_what_is_missing():
    lines = parsed(tables.table6_csv(rows.of(RECORDS)))
    assert [line["model"] for line in lines] == [
        "mobilenetv3_l",
        "resnet50",
        "swin_t",
        "convnext_t",
        *["repnext_u3_t"] * 3,
    ]
    resnet, srep = lines[1], lines[6]
    assert (resnet["cpu_latency_ms_paper"], resnet["gpu_latency_ms_paper"]) == ("38.1", "9.3")
    assert float(resnet["cpu_latency_ms"]) == pytest.approx(60.3, abs=0.1)
    assert float(resnet["cpu_img_s"]) == pytest.approx(128 / 14)
    assert resnet["gpu_latency_ms"] == resnet["edge_img_s"] == "not measured"
    assert lines[0]["cpu_latency_ms"] == "not measured"
    assert srep["cpu_latency_ms"] == "failed (check)"


def test_the_paper_has_what_its_table_says():
    row = paper.find(6, "orin", "repnext_u3_t", "srep")
    assert (row.latency_ms, row.throughput_img_s, row.top1) == (9.3, 168, 82.1)
    assert paper.top1("timm/resnet18") is None
    assert len(paper.reported()) == 91


def test_the_environment_measured_last_is_shown_also_when_it_was_there_before():
    other = msgspec.structs.replace(ENVIRONMENT, environment_id="other")
    middle = timed("resnet50", ms=30.0, environment_id="other")
    again = timed("resnet50", ms=59.2, round_number=2)
    page = report.render([ENVIRONMENT, RECORDS[1], other, middle, again])["table6.md"].decode()
    assert "59.4" in page
    assert "30.1" not in page


def test_table6_shows_one_number_of_threads_and_names_it():
    one = measurement(Case("resnet50", "plain", threads=1), samples_s=[0.1, 0.1])
    page = tables.table6_markdown(rows.of([ENVIRONMENT, one, timed("resnet50", ms=60.0)]))
    assert "CPU Lat. (Test Chip 9000, 2 threads)" in page
    assert "60.2" in page
    assert "100" not in page.split("Top-1")[1].split("ResNet50")[1].split("\n")[0]


def test_a_file_named_twice_counts_once(tmp_path):
    write_records(tmp_path / "a" / "chip", [ENVIRONMENT, timed("resnet50")])
    report.write([tmp_path / "a", tmp_path / "a" / "chip"], tmp_path / "to")
    (line,) = parsed((tmp_path / "to" / "chip" / "results.csv").read_text())
    assert line["samples"] == "3"


def test_names_that_look_like_formulas_are_drawn_as_they_are():
    chip = msgspec.structs.replace(CHIP, name="a$b$c$")
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    assert report.render([environment, timed("resnet50")])["figure1.png"].startswith(b"\x89PNG")


def test_environments_are_never_merged():
    other = msgspec.structs.replace(ENVIRONMENT, environment_id="later")
    later = timed("resnet50", ms=30.0, environment_id="later")
    both = rows.of([*RECORDS[:3], other, later])
    assert [row.summary.samples for row in both] == [6, 3]
    pages = report.render([*RECORDS[:3], other, later])
    assert "30.1" in pages["table6.md"].decode()
    assert "60.3" not in pages["table6.md"].decode()


def test_a_model_without_accuracy_is_named_below_the_figure():
    lines = figures._left_out([row for row in rows.of(RECORDS) if row.case.batch == 1])
    assert lines == [
        "Not shown, no accuracy in the paper: timm/resnet18",
        "Not shown, failed: RepNeXt-u3-T-sRep, timm/<script>",
    ]


def test_labels_of_the_figure_do_not_overlap():
    from matplotlib import pyplot

    near = [timed(m, ms=ms) for m, ms in [("resnet50", 50), ("swin_t", 51), ("convnext_t", 51.5)]]
    shown = rows.of([ENVIRONMENT, *near, timed("repnext_u3_t", "train", ms=52)])
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=150)
    try:
        figures._plot(axes, shown)
        boxes = [text.get_window_extent() for text in axes.texts]
        assert [text.get_text() for text in axes.texts] == ["50", "T", "T", "T"]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert len(axes.get_legend().get_texts()) == 4
    finally:
        pyplot.close(figure)


@pytest.mark.parametrize(
    ("model", "family", "size"),
    [
        ("resnet101", "ResNet", "101"),
        ("efficientnet_b3", "EffNet", "B3"),
        ("repnext_u3_s", "RepNeXt-u3", "S"),
        ("repghost_2_0x", "RepGhost", "2.0x"),
    ],
)
def test_a_model_is_a_size_of_a_family(model, family, size):
    (row,) = rows.of([ENVIRONMENT, timed(model)])
    assert figures._family(row) == (family, size)


def write_records(folder, records):
    folder.mkdir(parents=True)
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    (folder / "results.jsonl").write_bytes(b"".join(lines))


def test_a_report_goes_beside_its_records(tmp_path):
    write_records(tmp_path / "chip", RECORDS)
    written, warnings = report.write([tmp_path])
    assert warnings == []
    assert {path.name for path in written} == {
        "results.md",
        "results.csv",
        "table6.md",
        "table6.csv",
        "figure1.png",
    }
    assert all(path.parent == tmp_path / "chip" for path in written)
    assert len(list((tmp_path / "chip").iterdir())) == 6


def test_several_folders_join_by_chip_in_the_one_named(tmp_path):
    write_records(tmp_path / "a" / "chip", [ENVIRONMENT, timed("resnet50")])
    write_records(tmp_path / "b" / "chip", [ENVIRONMENT, timed("swin_t")])
    report.write([tmp_path / "a", tmp_path / "b"], tmp_path / "to")
    text = (tmp_path / "to" / "chip" / "results.csv").read_text()
    assert [line["model"] for line in parsed(text)] == ["resnet50", "swin_t"]
    with pytest.raises(UsageError, match="--to"):
        report.write([tmp_path / "a", tmp_path / "b"])


def test_an_environment_alone_is_nothing_to_report(tmp_path):
    write_records(tmp_path / "chip", [ENVIRONMENT])
    with pytest.raises(UsageError, match="no results"):
        report.write([tmp_path])


def test_records_whose_environment_is_lost_are_shown_all_the_same():
    pages = report.render([timed("resnet50")])
    assert "unknown cpu" in pages["results.md"].decode()


def test_a_chip_that_is_none_of_the_papers_has_columns_of_its_own():
    chip = msgspec.structs.replace(CHIP, kind="", name="fake")
    environment = msgspec.structs.replace(ENVIRONMENT, chip=chip)
    line = parsed(tables.table6_csv(rows.of([environment, timed("resnet50")])))[1]
    assert line["cpu_latency_ms"] == "not measured"
    assert float(line["fake_latency_ms"]) == pytest.approx(10.03, abs=0.01)

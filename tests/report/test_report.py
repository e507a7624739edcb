"""Reports from records. Expected text is in tests/golden; review changes to it as diffs."""

import csv
import io
import re

import msgspec
import pytest
from support.claims import rounds_on
from support.paths import GOLDEN
from support.records import CHIP, ENVIRONMENT, QUIET, SPREAD, failure, three, timed
from support.results import pages_of, write

import bench
from bench import paper, report
from bench.analysis import rows
from bench.errors import UsageError
from bench.paper import accuracy
from bench.records import Case, Cost
from bench.report import devices
from bench.report.tables import results

RECORDS = [
    ENVIRONMENT,
    timed("resnet50", ms=59.2),
    timed("resnet50", ms=61.0, round_number=2),
    timed("resnet50", ms=60.1, round_number=3, stopped_by="rounds"),
    timed("resnet50", ms=14_000, batch=128, stopped_by="budget"),
    *three(timed("repnext_u3_t", "train", ms=76.9)),
    timed("repnext_u3_t", "rrep_fc", ms=70.1),
    timed("timm/resnet18", ms=20.0, cost=Cost(params=11_689_512, macs=1_814_073_344)),
    failure(Case("repnext_u3_t", "srep", threads=2)),
    failure(Case("timm/<script>", "plain", threads=2), message="a|b"),
]
WITHOUT_FIGURES = pytest.mark.usefixtures("without_figures")
# With samples enough for a distribution.
ALL_KINDS = [*RECORDS, timed("swin_t", spread=SPREAD * 4)]


@pytest.mark.parametrize("name", ["results.md", "results.csv"])
def test_text_matches_the_golden_file(name):
    text = {"results.md": results.to_markdown, "results.csv": results.to_csv}[name]
    assert text(rows.of(RECORDS)) == (GOLDEN / name).read_text()


def test_percentiles_have_columns_where_a_sample_supports_them():
    few, many = timed("resnet50"), timed("swin_t", samples_s=[0.01 + 1e-6 * i for i in range(130)])
    text = results.to_markdown(rows.of([ENVIRONMENT, few, many]))
    head, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.split("|")]
    cells = [dict(zip(names, map(str.strip, line.split("|")), strict=True)) for line in lines]
    assert [line["p90 (ms)"] for line in cells] == ["–", "10.1"]
    assert [line["p95 (ms)"] for line in cells] == ["–", "10.1"]
    assert "p99 (ms)" not in names


def test_the_same_records_give_the_same_bytes_in_every_page(tmp_path):
    other = msgspec.structs.replace(CHIP, kind="gpu", name="Other Chip")
    write(tmp_path / "in" / "chip", ALL_KINDS)
    write(
        tmp_path / "in" / "other",
        [msgspec.structs.replace(ENVIRONMENT, chip=other), *ALL_KINDS[1:]],
    )
    for again in ("one", "two"):
        report.write([tmp_path / "in"], tmp_path / again)
    names = [path for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert len(names) > 60
    for path in names:
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )


def parsed(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_case_is_a_row_failed_ones_too():
    lines = parsed(results.to_csv(rows.of(RECORDS)))
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


def test_reported_numbers_match_the_papers_table():
    row = paper.find(6, "orin", "repnext_u3_t", "srep")
    assert (row.latency_ms, row.throughput_img_s, row.top1) == (9.3, 168, 82.1)
    assert len(paper.reported()) == 91


@WITHOUT_FIGURES
def test_the_environment_measured_last_is_shown_also_when_it_was_there_before():
    other = msgspec.structs.replace(ENVIRONMENT, environment_id="other")
    middle = timed("resnet50", ms=30.0, environment_id="other")
    again = timed("resnet50", ms=59.2, round_number=2)
    page = pages_of([ENVIRONMENT, RECORDS[1], other, middle, again])["table6.md"].decode()
    assert "59.4" in page
    assert "30.1" not in page


@WITHOUT_FIGURES
def test_a_file_named_twice_counts_once(tmp_path):
    write(tmp_path / "a" / "chip", [ENVIRONMENT, timed("resnet50")])
    report.write([tmp_path / "a", tmp_path / "a" / "chip"], tmp_path / "to")
    (line,) = parsed((tmp_path / "to" / "chip" / "results.csv").read_text())
    assert line["samples"] == "3"


@WITHOUT_FIGURES
def test_environments_are_never_merged():
    other = msgspec.structs.replace(ENVIRONMENT, environment_id="later")
    later = timed("resnet50", ms=30.0, environment_id="later")
    both = rows.of([*RECORDS[:3], other, later])
    assert [row.summary.samples for row in both] == [6, 3]
    pages = pages_of([*RECORDS[:3], other, later])
    assert "30.1" in pages["table6.md"].decode()
    assert "60.3" not in pages["table6.md"].decode()


def test_a_report_is_written_next_to_its_records(tmp_path):
    write(tmp_path / "chip", ALL_KINDS)
    written, (warnings, *_) = report.write([tmp_path])
    assert [w.partition(":")[0] for w in warnings] == ["Test Chip 9000"] * 2  # unfinished, failed
    joint = {path.name for path in written if path.parent == tmp_path}
    beside = {path.name for path in written if path.parent == tmp_path / "chip"}
    tables = {f"table{n}.{kind}" for n in (2, 4, 5, 6) for kind in ("md", "csv", "tex")}
    assert {"report.md", "report.html", "claims.md", "figure1.png", "figure1.svg"} | tables <= joint
    assert {"results.md", "results.csv", "figure1.png", "table6.tex", "distributions.png"} <= beside
    assert "table3.md" not in beside  # nothing of it was measured
    assert len(written) == len(joint) + len(beside)
    on_disk = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(on_disk) == len(written) + 1


def contents(folder):
    """The bytes of each file in a folder, by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def linked(tmp_path):
    """`out/fake` is a link to the results of somebody else, with pages of their own."""
    theirs = tmp_path / "theirs" / "chip"
    write(theirs, [ENVIRONMENT, timed("resnet50")])
    for name in ("results.md", "figure1.png"):
        (theirs / name).write_text("theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").symlink_to("../theirs/chip")
    return tmp_path / "out", theirs


def test_no_page_is_written_through_a_device_folder_that_is_a_link(linked):
    out, theirs = linked
    before = contents(theirs)
    written, reading = report.write([out])
    assert contents(theirs) == before
    assert {path.parent for path in written} == {out}
    (said,) = (warning for warning in reading.warnings if "link" in warning)
    assert said.startswith(f"{out}/mine is a link to another folder: its results are part of")
    assert said.endswith("--to DIR")
    index = (out / "report.md").read_text()
    assert "mine is a link to another folder" in index
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert [link for link in links if not (out / link).exists()] == []
    assert b"resnet50" in (out / "table4.csv").read_bytes()
    assert (out / "figure1.svg").read_bytes().startswith(b"<?xml")


@WITHOUT_FIGURES
def test_the_results_of_a_linked_device_folder_are_reported_elsewhere(linked, tmp_path):
    out, theirs = linked
    before = contents(theirs)
    _, reading = report.write([out], tmp_path / "to")
    assert (tmp_path / "to" / "chip" / "results.md").exists()
    assert contents(theirs) == before
    assert "link" not in str(reading.warnings)


def test_no_page_is_written_through_a_link_in_the_folder_of_the_report(linked, tmp_path):
    out, theirs = linked
    before = contents(theirs)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "chip").symlink_to(theirs)
    _, reading = report.write([out], tmp_path / "to")
    assert contents(theirs) == before
    assert f"{tmp_path}/to/chip is a link" in str(reading.warnings)


@WITHOUT_FIGURES
def test_the_folder_of_the_report_and_the_results_may_be_links(tmp_path):
    """Also a link within the folder, which leads to another of its devices."""
    write(tmp_path / "real" / "chip", [ENVIRONMENT, timed("resnet50")])
    (tmp_path / "real" / "latest").symlink_to("chip")
    (tmp_path / "out").symlink_to("real")
    path = tmp_path / "real" / "chip" / "results.jsonl"
    path.rename(tmp_path / "elsewhere.jsonl")
    path.symlink_to(tmp_path / "elsewhere.jsonl")
    _, reading = report.write([tmp_path / "out"])
    assert (tmp_path / "real" / "chip" / "results.md").exists()
    assert "link" not in str(reading.warnings)
    report.write([tmp_path / "out" / "latest"])
    assert (tmp_path / "real" / "chip" / "report.md").exists()


def test_the_index_links_to_what_is_there_and_says_what_is_missing(tmp_path):
    chip = tmp_path / "chip"
    write(chip, [*RECORDS, timed("swin_t")])
    with (chip / "results.jsonl").open("ab") as file:
        file.write(b"<script>\n")
    _, (warnings, *_) = report.write([tmp_path])
    index = (tmp_path / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert len(links) > 30
    assert [link for link in links if not (tmp_path / link).exists()] == []
    assert "unfinished, the run ended before the last round" in index
    assert "failed: repnext_u3_t@srep, timm/\\<script\\>" in index
    assert len(warnings) == 3
    assert "results.jsonl:14 is not a record" in index


@WITHOUT_FIGURES
def test_two_devices_have_a_column_group_each_and_names_of_their_own(tmp_path):
    write(tmp_path / "a", [ENVIRONMENT, timed("resnet50")])
    write(tmp_path / "b", [ENVIRONMENT, timed("resnet50", ms=20.0)])
    report.write([tmp_path])
    heading = (tmp_path / "table4.md").read_text().splitlines()[2]
    assert "Test Chip 9000 in a" in heading
    assert "Test Chip 9000 in b" in heading
    assert bench.load(tmp_path)["slug"].tolist() == ["a", "b"]


def test_older_environments_are_told_from_the_latest_and_noted():
    other = msgspec.structs.replace(ENVIRONMENT, environment_id="later")
    later = timed("resnet50", ms=30.0, environment_id="later")
    old, new = devices.of("chip", [*RECORDS[:3], other, later])
    assert (old.label, new.label) == ("Test Chip 9000 (env)", "Test Chip 9000")
    assert (old.latest, new.latest) == (False, True)
    assert "2 different environments" in new.notes[0]


def test_the_order_of_two_folders_of_one_device_changes_no_byte(tmp_path):
    """Both folders have round 1 of a case in either environment, and one line is in both."""
    for name, year in (("new", 2026), ("old", 2025)):
        environment = msgspec.structs.replace(
            ENVIRONMENT, environment_id=name, started_at=f"{year}-01-01T00:00:00+00:00", run_id=name
        )
        mine = timed("resnet50", environment_id=name, run_id=name)
        theirs = timed("resnet50", ms=20.0, environment_id="new", run_id="0")
        write(tmp_path / name / "chip", [environment, theirs, mine])
    pages = []
    for order in (("new", "old"), ("old", "new")):
        report.write([tmp_path / each for each in order], tmp_path / "to")
        pages.append({path: path.read_bytes() for path in (tmp_path / "to").rglob("*.*")})
        with pytest.warns(UserWarning, match="1 line is also in"):
            lines = bench.load([tmp_path / each for each in order])
        assert lines.loc[lines["latest"], "environment_id"].tolist() == ["new"]
        assert lines["processes"].tolist() == [1, 2]
    assert len(pages[0]) > 20
    assert pages[0] == pages[1]
    text = (tmp_path / "to" / "report.md").read_text()
    assert "Environment new" in text
    assert "- chip: 6 lines of results, 5 used; left out: 1 (the same as another line)." in text
    assert "results.jsonl: 1 line is also in" in text
    assert "6 lines of results, 5 used" in (tmp_path / "to" / "report.html").read_text()


def test_contradicting_records_are_noted():
    other = msgspec.structs.replace(CHIP, device="cuda", kind="gpu", name="Other Chip")
    contrary = msgspec.structs.replace(ENVIRONMENT, chip=other)
    (found,) = devices.of("chip", [ENVIRONMENT, timed("resnet50", stopped_by="rounds"), contrary])
    assert found.notes == [
        "the records name different chips, Test Chip 9000 (cpu), Other Chip (cuda): "
        "do not trust these results",
        "cases of cpu are recorded under cuda: do not trust these results",
    ]


@WITHOUT_FIGURES
def test_the_report_is_written_next_to_a_link_and_not_next_to_its_target(tmp_path):
    write(tmp_path / "kept" / "1234", RECORDS[:2])
    (tmp_path / "out" / "chip").mkdir(parents=True)
    (tmp_path / "out" / "chip" / "results.jsonl").symlink_to(
        tmp_path / "kept" / "1234" / "results.jsonl"
    )
    report.write([tmp_path / "out"])
    assert (tmp_path / "out" / "chip" / "results.md").exists()
    assert len(list((tmp_path / "kept" / "1234").iterdir())) == 1


def test_files_of_an_earlier_report_are_named(tmp_path):
    write(tmp_path / "chip", RECORDS[:2])
    (tmp_path / "chip" / "figure5.png").write_bytes(b"old")
    (tmp_path / "chip" / "notes.md").write_text("mine")
    _, (warnings, *_) = report.write([tmp_path])
    assert [w for w in warnings if "earlier" in w] == [
        f"{tmp_path / 'chip' / 'figure5.png'} is from an earlier report: remove it"
    ]


def test_an_invalid_row_has_no_rank():
    slow = {"block_compute_s": [0.001], "block_memory_s": [0.002]}
    fine = [*three(timed("resnet50", **slow)), *three(timed("swin_t", ms=5.0, **slow))]
    away = three(timed("vit_b", ms=1.0, block_compute_s=[0.1], block_memory_s=[0.2]))
    found = rows.of([ENVIRONMENT, *fine, *away])
    assert [row.verdict.level for row in found] == ["SUSPECT", "SUSPECT", "INVALID"]
    assert [row.rank for row in found] == [(2, 2), (1, 1), None]


def test_a_folder_that_cannot_be_written_is_said_and_nothing_else_breaks(tmp_path, monkeypatch):
    write(tmp_path / "in" / "chip", RECORDS[:2])
    (tmp_path / "to").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="cannot write to"):
        report.write([tmp_path / "in"], tmp_path / "to")


@WITHOUT_FIGURES
def test_unused_accuracies_give_a_warning(tmp_path):
    write(tmp_path / "chip", RECORDS[:2])
    top1 = tmp_path / "top1.csv"
    top1.write_text("model,top1\nresnet50,80.1\nnobody,81\n")
    _, (warnings, *_) = report.write([tmp_path], given=accuracy.read(top1))
    assert warnings[0] == (
        "a top-1 is given for nobody at 224 pixels, but no such case was measured"
    )
    assert "80.1 (measured)" in (tmp_path / "chip" / "results.md").read_text()


@WITHOUT_FIGURES
def test_several_folders_join_by_chip_in_the_one_named(tmp_path):
    write(tmp_path / "a" / "chip", [ENVIRONMENT, timed("resnet50")])
    write(tmp_path / "b" / "chip", [ENVIRONMENT, timed("swin_t")])
    report.write([tmp_path / "a", tmp_path / "b"], tmp_path / "to")
    text = (tmp_path / "to" / "chip" / "results.csv").read_text()
    assert {line["model"] for line in parsed(text)} == {"resnet50", "swin_t"}
    with pytest.raises(UsageError, match="--to"):
        report.write([tmp_path / "a", tmp_path / "b"])


def test_an_environment_alone_is_nothing_to_report(tmp_path):
    write(tmp_path / "chip", [ENVIRONMENT])
    with pytest.raises(UsageError, match="no results"):
        report.write([tmp_path])


@WITHOUT_FIGURES
def test_records_without_an_environment_are_still_shown():
    pages = pages_of([timed("resnet50")])
    assert "unknown cpu" in pages["results.md"].decode()


def tables_of(folder):
    return {path.name for path in folder.iterdir() if path.name.startswith(("table", "claims"))}


@WITHOUT_FIGURES
def test_tables_and_claims_of_the_paper_are_left_out_where_nothing_of_theirs_was_measured(tmp_path):
    write(tmp_path / "chip", [ENVIRONMENT, timed("timm/resnet18"), timed("resnet50", backend="x")])
    report.write([tmp_path])
    assert tables_of(tmp_path) == set()
    text = (tmp_path / "report.md").read_text()
    assert "Tables 2, 3, 4, 5 and 6 and the claims of the paper are left out" in text
    assert "`bench report --paper`" in text
    report.write([tmp_path], with_paper=True)
    assert len(tables_of(tmp_path)) == 3 * 5 + 2
    assert "left out" not in (tmp_path / "report.md").read_text()


@WITHOUT_FIGURES
def test_tables_with_a_measured_network_and_the_claims_are_written(tmp_path):
    write(tmp_path / "chip", [ENVIRONMENT, timed("repnext_u2_t", "srep")])
    report.write([tmp_path])
    names = {f"table2.{kind}" for kind in ("md", "csv", "tex")}
    assert tables_of(tmp_path) == names | {"claims.md", "claims.csv"}
    text = (tmp_path / "report.md").read_text()
    assert "- Tables 3, 4, 5 and 6 of the paper are left out" in text
    assert "`--suite table3`, `--suite table4`, `--suite table5`, `--suite table6`" in text


def test_the_command_ends_with_three_files_to_open_and_lists_all_when_asked(bench, tmp_path):
    write(tmp_path / "out" / "chip", RECORDS)
    done = bench("report", "out")
    assert done.stdout.splitlines()[:3] == [
        "page:    out/report.html",
        "table:   out/results.tex",
        "index:   out/report.md",
    ]
    assert len(done.stdout.splitlines()) == 4
    listed = bench("report", "out", "--list").stdout.splitlines()
    assert f"files:   {len(listed)} in all" in done.stdout
    written = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {(tmp_path / line).resolve() for line in listed} | {
        tmp_path / "out" / "chip" / "results.jsonl"
    } == written


def test_results_have_a_section_and_the_kinds_of_processes_per_allocator():
    """Page faults of three calls in each process: by default, two processes have 900 a call."""
    faults = {"default": (0, 2_700, 2_700), "arena": (0, 0, 3)}
    records = [
        timed(
            "resnet50",
            ms=10.0 if allocator == "arena" else 12.0,
            round_number=number,
            allocator=allocator,
            conditions=msgspec.structs.replace(QUIET, page_faults=count),
        )
        for allocator, counts in faults.items()
        for number, count in enumerate(counts, 1)
    ]
    text = results.to_markdown(rows.of([ENVIRONMENT, *records]))
    first, second = text.split("## Batch 1 at 224²")[1:]
    assert second.startswith(", arena\n")
    assert " 0 (1), 900 (2) |" in first
    assert " 0 to 1 (3) |" in second.partition("## ")[0]


@WITHOUT_FIGURES
def test_claims_are_judged_for_each_allocator(tmp_path):
    latencies_ms = {"default": (10.0, 12.0), "arena": (10.0, 8.0)}
    names = ("convnext_t", "repnext_u3_t@rrep")
    here = {"environment_id": ENVIRONMENT.environment_id}
    records = [
        record
        for allocator, several in latencies_ms.items()
        for name, ms in zip(names, several, strict=True)
        for record in rounds_on(CHIP, name, ms, allocator=allocator, **here)
    ]
    report.write([write(tmp_path / "out" / "chip", [ENVIRONMENT, *records])])
    lines = csv.DictReader(io.StringIO((tmp_path / "out" / "claims.csv").read_text()))
    verdicts = {line["device"]: line["verdict"] for line in lines if line["number"] == "34"}
    assert verdicts == {
        "Test Chip 9000": "not reproduced",
        "Test Chip 9000, arena": "reproduced",
    }
    (line,) = re.findall(r"^\| 34 \|.*$", (tmp_path / "out" / "claims.md").read_text(), re.M)
    assert "**not reproduced**" in line

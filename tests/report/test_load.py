"""`bench.load` returns the records as a DataFrame, as its page in docs says."""

import re
import subprocess
import sys

import matplotlib as mpl
import pytest
from support.paths import ROOT
from support.records import CHIP, ENVIRONMENT, failure, measurement
from support.results import write

import bench
from bench.errors import UsageError
from bench.records import Case
from bench.storage.reader import FILE_NAME

PAGE = (ROOT / "docs" / "notebooks.md").read_text()

TRAIN = Case("repnext_u3_t", "train")
RREP = Case("repnext_u3_t", "rrep")
BROKEN = Case("convnext_t", "plain")


@pytest.fixture
def results(tmp_path):
    """Two devices; on one of them a case failed, on the other all did."""
    rounds = [measurement(case, number) for number in (1, 2) for case in (TRAIN, RREP)]
    write(tmp_path / "results" / "chip-a", [ENVIRONMENT, *rounds, failure(BROKEN)])
    return write(tmp_path / "results" / "chip-b", [ENVIRONMENT, failure(BROKEN)])


def test_a_line_for_each_case_of_each_device(results):
    lines = bench.load(results)
    assert lines.columns[0] == "slug"
    assert list(zip(lines["slug"], lines["model"], lines["form"], strict=True)) == [
        ("chip-a", "repnext_u3_t", "train"),
        ("chip-a", "repnext_u3_t", "rrep"),
        ("chip-a", "convnext_t", "plain"),
        ("chip-b", "convnext_t", "plain"),
    ]
    assert list(lines.index) == [0, 1, 2, 3]
    assert list(lines["latency_median_s"].dropna()) == [0.011, 0.011]
    assert list(lines["failed_at"].notna()) == [False, False, True, True]
    assert set(lines["chip"]) == {CHIP.name}
    numbers = lines.filter(regex=r"_(s|img_s|w|j)$").dtypes
    assert len(numbers) == 14
    assert {str(kind) for kind in numbers} == {"float64"}, "nothing measured is a number too"
    assert lines["top1"].tolist() == [82.1] * 4
    assert set(lines["top1_source"]) == {"paper: Table 4"}


def test_a_path_or_several_as_text_or_path(results):
    once = bench.load(str(results))
    assert once.equals(bench.load([results]))
    assert once.equals(bench.load(results / name for name in ("chip-a", "chip-b")))
    assert once.equals(bench.load([results, str(results / "chip-a")])), "a folder counts once"


def test_nothing_to_load_is_an_error(tmp_path, results):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "bare" / "chip", [ENVIRONMENT])
    write(tmp_path / "profiled" / "chip", [ENVIRONMENT, failure(TRAIN, stage="profile")])
    for paths in [*(tmp_path / name for name in ("none", "empty", "bare", "profiled")), []]:
        with pytest.raises(UsageError):
            bench.load(paths)
    assert len(bench.load([tmp_path / "empty", results])) == 4


def test_a_line_that_is_not_a_record_gives_a_warning(results):
    with (results / "chip-a" / FILE_NAME).open("a") as file:
        file.write("{\n")
    with pytest.warns(UserWarning, match=r"chip-a.*not a record") as warned:
        assert len(bench.load(results)) == 4
    assert warned[0].filename == __file__


def test_importing_bench_is_cheap_and_loading_needs_no_torch(results):
    code = f"""
import sys
import bench
assert not {{"pandas", "torch"}} & set(sys.modules)
assert len(bench.load({str(results)!r})) == 4
assert not {{"torch", "timm"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_names_every_column(results):
    table = PAGE.split("## The columns")[1]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert named == list(bench.load(results).columns)


def test_what_the_page_shows_runs_on_the_committed_reports(monkeypatch):
    """Block after block in one namespace, as a notebook does."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 5
    seen: dict[str, object] = {}
    with mpl.rc_context({"backend": "agg"}):
        for block in blocks:
            exec(compile(block, "notebooks.md", "exec"), seen)
        seen["figure"].canvas.draw()
        seen["plt"].close(seen["figure"])
    assert len(seen["lines"]) >= len(seen["measured"]) >= len(seen["single"])
    assert {"train", "rrep"} <= set(seen["ms"].columns)
    assert len(seen["chains"]) > 0
    assert len(seen["axes"].get_yticklabels()) == len(seen["of_one"]) > 0
    assert len(seen["samples"]) >= len(seen["of_one"])

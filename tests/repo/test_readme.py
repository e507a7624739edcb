"""What the README shows is what is committed, and what it says to type exists."""

import csv
import re

from support.paths import ROOT

from bench.text import display, plus_minus, significant

DOUBTED = {"VALID": "", "SUSPECT": " †"}
README = (ROOT / "README.md").read_text()


def test_the_table_is_that_of_the_committed_report():
    with (ROOT / "reports" / "amd-epyc" / "table6.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 7
    for line in lines:
        mean, std = (float(line[f"amd_epyc_latency_{key}"]) for key in ("ms", "std_ms"))
        latency = plus_minus(mean, std)
        name = display(line["model"], line["form"])
        (row,) = [row for row in README.splitlines() if row.startswith(f"| {name} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3] == latency + DOUBTED[line["amd_epyc_verdict"]]
        assert cells[4] == line["xeon_8260_latency_ms_paper"]
        throughput = significant(float(line["amd_epyc_img_s"]))
        assert cells[5] == throughput + DOUBTED[line["amd_epyc_img_s_verdict"]]
        assert cells[7] == line["amd_epyc_rank"]


def test_the_page_of_models_is_what_the_command_prints(bench):
    page = (ROOT / "docs" / "models.md").read_text()
    printed = bench("list", "models", "--paper").stdout
    assert page.endswith(printed)
    assert len(printed.splitlines()) > 50


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_sessions_it_names_are_sessions():
    sessions = set(re.findall(r"nox -s (\w+)", README))
    defined = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.M))
    assert sessions >= {"tests", "bench_cpu", "bench_gpu", "bench_orin"}
    assert sessions <= defined


def test_it_speaks_of_no_machine_path_or_host():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("bench/**/*.py"), *ROOT.glob("reports/**/*.md")]:
        assert not re.search(r"/(root|home|tmp|work)/", path.read_text()), path

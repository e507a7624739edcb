"""No interval stands anywhere below three processes: in no table, file, figure, page or text."""

import csv
import io
import json
import re

import pytest
from support.records import ENVIRONMENT, OBSERVED, rounds
from support.results import write

from bench import report
from bench.analysis.compare import two_cases
from bench.analysis.explain import explain
from bench.analysis.recorded import latest
from bench.report import comparison

NETWORKS = {
    ("resnet50", "plain"): 20.0,
    ("swin_t", "plain"): 30.0,
    ("repnext_u3_t", "train"): 25.0,
    ("repnext_u3_t", "rrep"): 15.0,
    ("repnext_u3_t", "srep"): 10.0,
}
MOVED = (0.0, 0.001, 0.002)  # the processes of a case differ, and so do their ratios
TEXTS = (".md", ".csv", ".tex", ".html", ".svg")
# What has intervals in its table, its figure or its data, of three processes a case.
WITH_INTERVALS = {
    *("results.md", "results.csv", "claims.md", "claims.csv", "report.html"),
    *(f"table{number}.csv" for number in (2, 4, 5, 6)),
    *("figure1.svg", "speedups.svg", "distributions.svg", "distributions-128.svg"),
}


def folder(tmp_path, processes):
    """Return a folder of results whose cases have so many processes, which took turns."""
    records = [
        record
        for number, ((model, form), ms) in enumerate(NETWORKS.items())
        for batch in (1, 128)
        for record in rounds(
            model,
            form,
            [batch * ms * (1 + number * moved) for moved in MOVED[:processes]],
            last="rounds",
            batch=batch,
            spread=[0.99, 1.0, 1.01, 1.0] * 20,
            **OBSERVED,
        )
    ]
    return write(tmp_path / "test-chip-9000", [ENVIRONMENT, *records])


def has_interval(path):
    """Whether a page shows an interval; of claims, one that was measured and not counted."""
    text = path.read_text()
    if path.suffix == ".csv":
        lines = csv.DictReader(io.StringIO(text))
        pairs = [
            (value, line[key.replace("low", "high")])
            for line in lines
            for key, value in line.items()
            if "low" in key.split("_")
        ]
        return any(low != high for low, high in pairs)
    if path.suffix == ".html":
        return bool(re.search(r'"(?:low|high)": ?[\d.]+', text))
    if path.suffix == ".svg":
        return "95 % interval" in text  # the legend, which is a comment in the file
    return bool(re.search(r"\[\d[\d.]*, \d|\| *[\d.]+ to [\d.]+ *\|", text))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_pages_and_figures_have_intervals_from_three_processes_on(tmp_path, processes):
    written, _ = report.write([folder(tmp_path, processes)])
    found = {path.name for path in written if path.suffix in TEXTS and has_interval(path)}
    assert found == (WITH_INTERVALS if processes == 3 else set())


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_comparison_of_fewer_than_three_rounds_is_undecided(tmp_path, processes):
    found = two_cases(folder(tmp_path, processes), "resnet50", "swin_t", 0.02)
    page, values = comparison.to_markdown(found), json.loads(comparison.to_json(found))
    are_few = processes < 3
    assert (" to " not in page.partition("The ratio is")[0]) == are_few
    assert ("cannot decide: run the same command with --rounds 6" in page) == are_few
    for each in values[0]["compared"]:
        assert each["finding"] == ("UNDECIDED" if are_few else "SLOWER")
        assert (each["ratio"] is None) == are_few
        assert each["adjusted"] is None


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_explain_has_an_interval_from_three_processes_on(tmp_path, processes):
    (recorded,) = latest(folder(tmp_path, processes))
    said = dict(explain(recorded, recorded.cases[0]))
    few = "none: it needs at least 3 processes"
    assert (said["interval"] == few) == (processes < 3)
    assert any("95 %" in text for text in said.values()) == (processes == 3)
    assert ("`--rounds 3`" in said.get("remedy", "")) == (processes == 1)

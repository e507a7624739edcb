"""`results.tex`: the table of whatever was measured."""

import msgspec
import pytest
from support.records import BUSY, ENVIRONMENT, failure, timed
from support.results import device
from support.table_rows import BOTH, GPU_RECORDS, ON_GPU, thrice

from bench.models import labels
from bench.paper.accuracy import Accuracy, Given
from bench.records import Case, Cost
from bench.report.tables import results_tex

OWN = "nets/mine.py:net#1a2b3c4d"
GIVEN = [Given(OWN, Accuracy(71.25, "imagenet1k", 224, "measured", "mine"))]
COST = Cost(params=5_483_032, macs=217_000_000)
RECORDS = [
    *thrice(OWN, ms=12.0, cost=COST),
    *thrice("timm/resnet18", ms=20.0, conditions=BUSY),
    *thrice(OWN, "rrep", ms=11.0),
    *thrice(OWN, ms=640.0, batch=64),
    failure(Case(OWN, "rrep", batch=64, threads=2)),
]


def text_of(*groups, given=(), **options):
    named = [labels.stamped(group, {OWN: "MyNet"}) for group in groups]
    return results_tex.render([device(*named, given=given, **options)])["results.tex"].decode()


def lines_of(text):
    """The cells of each line of the body, by the first cell."""
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    cells = [line.removesuffix(r" \\").split(" & ") for line in body.strip().splitlines()]
    return {line[0]: line[1:] for line in cells}


def test_a_row_has_label_cost_accuracy_latency_throughput_and_marks():
    text = text_of(RECORDS, given=GIVEN)
    lines = lines_of(text)
    assert list(lines) == ["MyNet", "MyNet-rRep", "timm/resnet18"]  # forms stand together
    latency, spread, throughput = lines["MyNet"][3:]
    assert lines["MyNet"][:3] == ["$5.483$", "$0.217$", "$71.2$"]
    assert latency == "$12.0$"
    assert spread == r"$12.1 \pm 0.6$"
    assert throughput == "$99.8$"
    assert lines["MyNet-rRep"][5] == "failed (check)"
    assert lines["timm/resnet18"][2:] == [
        "$71.5$",
        r"$20.0^{\dagger}$",
        r"$20.1 \pm 1.0$",
        "--",
    ]
    assert r"$^{\dagger}$ SUSPECT on Test Chip 9000: other processes" in text
    assert "(timm/resnet18)" in text
    assert "Top-1: from timm's published results, the user's file." in text


def test_the_caption_has_the_device_and_the_settings():
    text = text_of(RECORDS)
    caption = r"\caption{Networks measured on Test Chip 9000: eager, fp32, 224$\times$224 pixels, "
    assert caption + "2 threads.}" in text
    assert "torch 2.0" in text
    assert "Batch 1" in text
    assert "Batch 64" in text


def test_settings_that_differ_are_in_the_rows_and_get_a_rule():
    text = text_of(RECORDS, thrice(OWN, ms=5.0, backend="compile", threads=1, resolution=64))
    assert "Test Chip 9000: several, fp32, several, several." in text
    rows = text.split(r"\midrule")
    assert len(rows) == 3
    assert rows[2].strip().startswith("MyNet compile 64$^2$ 1 thread & ")
    assert "MyNet 2 threads & " in rows[1]


def test_what_all_rows_share_is_in_the_caption_alone():
    text = text_of(thrice(OWN, ms=5.0, resolution=64))
    assert "64$\\times$64 pixels" in text
    assert list(lines_of(text)) == ["MyNet"]
    versions = {"torch": "2.0", "kernel": "6.1.0-13-amd64"}
    environment = msgspec.structs.replace(ENVIRONMENT, versions=versions)
    text = text_of(RECORDS, environment=environment)
    assert "torch 2.0" in text
    assert "6.1.0" not in text


def test_failures_have_their_reason():
    lost = [failure(Case(name, "plain", threads=2), message="no a_b layer.\nmore") for name in "xy"]
    text = text_of(lost)
    assert "x at batch 1, y at batch 1 failed at check with CheckError: no a\\_b layer." in text
    assert "more" not in text


def test_a_single_batch_has_latency_and_throughput():
    text = text_of(thrice(OWN, ms=100.0, batch=8))
    assert text.count("Batch 8") == 1
    assert lines_of(text)["MyNet"][2:] == ["$100$", r"$101 \pm 5$", "$79.8$"]


def test_each_device_has_a_table_and_a_long_one_is_split():
    text = results_tex.render(BOTH)["results.tex"].decode()
    assert text.count(r"\begin{table}") == 2
    assert r"\label{tab:results-test-chip-9000}" in text
    many = [each for n in range(45) for each in thrice(f"timm/n{n:02}")]
    text = text_of(many)
    assert "Chip 9000, part 2: eager" in text
    assert text.count("timm/n") - text.count("timm/n00, ") == 45
    gpu = device(GPU_RECORDS, environment=ON_GPU)
    assert results_tex.render([gpu])["results.tex"].decode().count(r"\begin{table}") == 1


def test_without_a_measured_case_there_is_no_table():
    assert results_tex.render([]) == {}


@pytest.mark.parametrize("uncounted", [Cost(), Cost(params=10)])
def test_what_is_not_known_is_a_dash_and_never_a_zero(uncounted):
    environment = msgspec.structs.replace(ENVIRONMENT, versions={})
    text = text_of([timed(OWN, cost=uncounted)], environment=environment)
    assert lines_of(text)["MyNet"][1] == "--"
    assert "--: not measured or not known." in text

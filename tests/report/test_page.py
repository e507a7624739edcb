"""The data of the HTML page: all records, each once, and no executable text."""

import base64
import hashlib
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.profiles import profile
from support.records import CHIP, ENVIRONMENT, EVIL, failure, timed

from bench.paper.accuracy import Accuracy, Given
from bench.records import Case
from bench.report import devices, page
from bench.report.page import columns
from bench.text import FORMULA

LIMIT = 6_000_000  # bytes


OTHER = structs.replace(ENVIRONMENT, environment_id="0123456789abcdef")
RECORDS = [
    OTHER,
    timed("resnet50", ms=70.0, environment_id=OTHER.environment_id),
    ENVIRONMENT,
    timed("resnet50", ms=59.2),
    timed("resnet50", ms=61.0, round_number=2),
    timed("resnet50", ms=60.1, round_number=3, stopped_by="rounds"),
    timed("repnext_u3_t", "train", ms=76.9, samples_s=[0.0769]),
    timed("convnext_t", ms=8.0, resolution=64),
    timed(EVIL, ms=20.0, warnings=["</script>\u2028<b>&amp;"]),
    failure(Case("repnext_u3_t", "srep", threads=2), message="a|b <i>"),
]


def held(html):
    """What the page's JSON says, columns as lists of values."""
    text = html.decode()
    (block,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    content = json.loads(block)
    content["rows"] = {key: decoded(column) for key, column in content["rows"].items()}
    for each in content["accuracies"]:
        each |= {key: decoded(each[key]) for key in ("top1", "source")}
    return content


def decoded(column):
    if isinstance(column, list):
        return column
    return [None if place is None else column["values"][place] for place in column["at"]]


def ours(html):
    """The page without plotly.js."""
    scripts = re.findall(rb"<script>.*?</script>", html, re.S)
    return html.replace(max(scripts, key=len), b"").decode()


PAGE = page.render(devices.of("chip", RECORDS))
HELD = held(PAGE)


def test_the_same_records_give_the_same_bytes():
    assert page.render(devices.of("chip", RECORDS)) == PAGE


def test_every_row_of_every_environment_is_in_it():
    rows = HELD["rows"]
    assert [each["latest"] for each in HELD["devices"]] == [True, False]
    assert rows["device"] == [0, 0, 0, 0, 0, 1]
    assert rows["case"] == [
        "resnet50",
        "repnext_u3_t@train",
        "convnext_t",
        EVIL,
        "repnext_u3_t@srep",
        "resnet50",
    ]
    assert rows["name"][4] == "RepNeXt-u3-T-sRep"
    assert rows["mean"][0] == pytest.approx(0.0603, rel=1e-3)
    assert rows["estimate"][0] == pytest.approx(0.0601, rel=1e-3)
    assert rows["low"][0] < 0.0601 < rows["high"][0]
    assert (rows["rank"][0], rows["verdict"][0]) == ("1", "SUSPECT")
    assert "the state of the machine was not recorded" in rows["doubts"][0]


def test_percentiles_are_given_where_the_samples_support_them():
    few, many = timed("resnet50"), timed("swin_t", samples_s=[0.01 + 1e-6 * i for i in range(130)])
    rows = held(page.render(devices.of("chip", [ENVIRONMENT, few, many])))["rows"]
    percentiles = [rows[name] for name in ("p90", "p95", "p99")]
    assert percentiles == [[None, 0.0101161], [None, pytest.approx(0.0101226)], [None, None]]


def test_calls_of_a_sample_are_given_and_the_page_says_what_they_mean():
    usual, grouped = timed("resnet50"), timed("swin_t", ms=0.01, calls_per_sample=10)
    html = page.render(devices.of("chip", [ENVIRONMENT, usual, grouped]))
    assert held(html)["rows"]["calls_per_sample"] == [1, 10]
    assert "of groups of ${row.calls_per_sample} calls" in ours(html)
    assert "timed in groups: their median is of groups" in ours(html)


def test_texts_that_a_saved_file_makes_harmless_are_those_of_all_csv_files():
    (pattern,) = re.findall(r"/\^(.+)/\.test\(value\)", ours(PAGE))
    assert pattern == FORMULA.pattern


def test_what_was_not_measured_is_missing():
    rows = HELD["rows"]
    assert rows["std"][1] is None  # of a single sample there is none
    assert rows["low"][5] is None  # nor an interval of a single process
    assert rows["estimate"][5] == rows["median"][5]
    failed = {key: column[4] for key, column in rows.items()}
    assert (failed["stage"], failed["failure"]) == ("check", "CheckError: a|b <i>")
    numbers = ("mean", "median", "estimate", "low", "throughput", "rank", "params", "verdict")
    assert {failed[key] for key in numbers} == {None}


def test_a_half_finished_case_says_so():
    assert "the run ended before the last round" in HELD["rows"]["doubts"][5]
    assert "unfinished" not in HELD["rows"]["doubts"][0]


def test_text_of_records_is_never_markup():
    text = PAGE.decode()
    block = text[text.index('type="application/json">') + 24 :].partition("</script>")[0]
    assert not re.search("[<>&\u2028\u2029]", block)
    assert EVIL in HELD["rows"]["case"]
    assert "</script>\\u2028<b>&amp;" in HELD["rows"]["doubts"][3]
    assert ours(PAGE).count("alert(1)") == len(re.findall(r"\\u003cscript\\u003ealert", block))


def test_the_page_uses_no_network_and_runs_only_its_two_scripts():
    text = ours(PAGE)
    assert not re.search(
        r"https?:|//\w|@import|(?<![a-z])url\(|<link[^>]*href=\"(?!data:)", text.lower()
    )
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    scripts = re.findall(rb"<script>(.*?)</script>", PAGE, re.S)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_accuracies_are_separate_per_data_set_and_match_the_resolution():
    own = Given(EVIL, Accuracy(50.0, "mine & yours", 224, "measured", ""))
    found = {
        each["name"]: each
        for each in held(page.render(devices.of("chip", RECORDS, [own])))["accuracies"]
    }
    assert list(found) == ["ImageNet-1K", "CIFAR-100", "ImageWoof", "mine & yours"]
    assert found["ImageNet-1K"]["top1"] == [77.2, 82.1, None, None, 82.1, 77.2]
    assert found["ImageNet-1K"]["source"][0] == "paper, Table 4"
    assert found["CIFAR-100"]["top1"] == [None, None, 78.6, None, None, None]
    assert found["mine & yours"]["source"] == [None, None, None, "measured", None, None]


def test_bars_add_up_to_the_latency_and_failures_stand_beside_them():
    good = profile("resnet50", residual_s=-1e-3)
    lost = failure(Case("swin_t", "plain", threads=2), stage="profile", message="no <trace>")
    records = [
        structs.replace(each, environment_id="env", case_id=each.case.case_id)
        for each in (good, profile("convnext_t", ms=9.0), profile("resnet50", batch=8), lost)
    ]
    content = held(page.render(devices.of("chip", [ENVIRONMENT, *records])))
    assert content["rows"] == {}
    first, second = content["profiles"]
    assert (first["batch"], second["batch"]) == (1, 8)
    assert [bar["name"] for bar in first["bars"]] == ["ResNet50", "ConvNeXt-T"]
    for bar in first["bars"]:
        assert math.fsum(width for _, _, width in bar["segments"]) == pytest.approx(bar["latency"])
    assert first["bars"][0]["doubts"]
    assert first["failures"] == ["swin_t failed with CheckError: no <trace>"]
    stacked = [each["term"] for each in content["terms"]]
    assert stacked == [
        "pointwise conv",
        "batch norm",
        "activation",
        "launch and host gaps",
        "residual",
    ]


def test_claims_are_shown_unchanged():
    claim = page.Claim("It is <faster>", "Section 1", "54 %", "35–51 %", {"Chip": "2 %"}, "no")
    assert held(page.render(devices.of("chip", RECORDS), [claim]))["claims"] == [claim._asdict()]
    assert HELD["claims"] == []


def test_two_thousand_cases_stay_below_the_limit():
    chip = structs.replace(CHIP, name="Another Chip 9001")
    far = structs.replace(ENVIRONMENT, environment_id="far", chip=chip)
    cases = [
        timed(f"timm/{name}_{number}", ms=5.0 + number, backend=backend, precision=precision)
        for number in range(125)
        for name in ("convnext_small", "some_other_network_with_a_long_name.in1k")
        for backend in ("eager", "compile")
        for precision in ("fp32", "fp16")
    ]
    moved = [structs.replace(each, environment_id="far") for each in cases]
    html = page.render(
        [*devices.of("chip", [ENVIRONMENT, *cases]), *devices.of("another", [far, *moved])]
    )
    assert len(held(html)["rows"]["case"]) == 2000
    assert len(html) < LIMIT


@given(st.lists(st.none() | st.text() | st.sampled_from(["a", "<", "\u2028"])))
def test_strings_listed_once_are_the_same_strings(values):
    text = json.dumps(columns.column(values))
    assert decoded(json.loads(text)) == values

"""Names of scenarios, and what they change of a case."""

import msgspec
import pytest

from bench.records import Case
from bench.records.scenario import Scenario, of, parse


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tight", "tight"),
        ("cold", "cold"),
        ("pipeline", "pipeline"),
        ("rest-0.1s", "rest-0.1s"),
        ("rest-10s", "rest-10s"),
        ("Pace-15Hz", "pace-15hz"),
        ("pace-29.97hz", "pace-29.97hz"),
        ("pace-015.0hz", "pace-15hz"),
        ("rest-0.00005s", "rest-0.00005s"),
        ("sustained-10m", "sustained-600s"),
        ("sustained-90s", "sustained-90s"),
    ],
)
def test_a_name_is_read_and_has_one_spelling(text, name):
    found = parse(text)
    assert found is not None
    assert found.name == name
    assert parse(name) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "rest", "rest-", "rest-s", "rest-1", "rest-0s", "rest--1s", "rest-nans", "rest-1e9s"),
        *("rest-601s", "pace-0hz", "pace-15", "pace-10001hz", "sustained-25h", "sustained-9999m"),
        *("cold-1s", "warm", "tight-1s"),
    ],
)
def test_no_other_name_is_a_scenario(text):
    assert parse(text) is None


def test_a_name_of_a_later_version_is_a_kind_of_its_own():
    assert of("burst-3") == Scenario("burst-3")


@pytest.mark.parametrize(
    ("name", "span_s"),
    [("tight", 0.02), ("rest-1s", 1.02), ("pace-10hz", 0.1), ("pace-100hz", 0.02), ("cold", 0.02)],
)
def test_the_seconds_from_one_sample_to_the_next(name, span_s):
    assert of(name).span_s(0.02) == pytest.approx(span_s)


def test_a_tight_loop_keeps_the_ids_of_older_records():
    case = Case("resnet50", "plain")
    assert msgspec.structs.replace(case, scenario="tight").case_id == case.case_id
    assert msgspec.structs.replace(case, scenario="cold").case_id != case.case_id


def test_cases_of_a_scenario_take_turns_with_the_tight_loop_but_are_ranked_apart():
    case = Case("resnet50", "plain")
    paced, cold = (msgspec.structs.replace(case, scenario=each) for each in ("pace-15hz", "cold"))
    assert paced.group == case.group
    assert paced.ranked_with != case.ranked_with
    assert cold.group != case.group

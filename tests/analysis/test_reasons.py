import pytest

from bench.analysis.reasons import (
    Observation,
    Reason,
    count,
    elapsed,
    factor,
    percent,
    sentence,
)


def suspect(observation, *values):
    return Reason(observation, "SUSPECT", values)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (suspect(Observation.OTHERS, percent(0.123)), "other processes used 12 % of the CPUs"),
        (suspect(Observation.OVERHEATED, count(3)), "3 thermal events"),
        (
            suspect(Observation.SLOW_COMPUTE, factor(1.44)),
            "computation took 1.4 times as long as on the quiet machine",
        ),
        (
            suspect(Observation.SET_BACK, elapsed(120), count(2)),
            "the clock was set back by 2 min in block 2",
        ),
        (suspect(Observation.BRAKED, "{0} %"), "the clock was throttled: {0} %"),
    ],
)
def test_reason_text_contains_values_and_rounds(reason, text):
    assert reason.text == text
    assert reason._replace(in_rounds=2, of_rounds=3).text == f"{text} (2 of 3 rounds)"


def test_each_observation_has_a_unique_sentence_and_a_remedy():
    every = list(Observation)
    assert len({each.sentence for each in every}) == len(Observation.__members__)
    assert all(each.doubt.value for each in every)


def test_reasons_of_one_kind_differ_only_in_numbers():
    few, many = (suspect(Observation.OTHERS, percent(share)) for share in (0.11, 0.2))
    assert few.kind == many.kind
    assert few.kind != suspect(Observation.STOLEN, percent(0.11)).kind
    seconds, minutes = (
        suspect(Observation.SET_BACK, elapsed(long), count(1)) for long in (30, 300)
    )
    assert seconds.kind != minutes.kind  # `30 to 5 s` would be false


def test_sentence_orders_numbers_by_value():
    found = [suspect(Observation.OTHERS, percent(share)) for share in (0.2, 0.095, 1.0)]
    assert sentence(found) == "other processes used 9.5 to 1e+02 % of the CPUs"
    assert sentence([found[0], suspect(Observation.OTHERS, percent(0.201))]) == found[0].text

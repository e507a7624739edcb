from support.records import CASE, failure, measurement

from bench.records import Case
from bench.storage.history import history


def test_history_is_of_one_case_in_one_environment():
    other = Case("resnet50", "plain", batch=128)
    records = [
        measurement(CASE, 1),
        measurement(other, 1),
        measurement(CASE, 1, environment_id="elsewhere"),
        measurement(CASE, 2),
    ]
    rounds, failed = history(records, CASE, "env")
    assert [record.round for record in rounds] == [1, 2]
    assert failed is None


def test_a_failure_counts_until_a_later_round_succeeds():
    assert history([failure(CASE)], CASE, "env").failure is not None
    assert history([failure(CASE), measurement(CASE)], CASE, "env").failure is None


def test_the_newest_generation_counts_alone():
    old = [measurement(CASE, number) for number in (1, 2)]
    anew = measurement(CASE, 1, generation=1)
    assert history([*old, anew], CASE, "env").rounds == [anew]
    assert history([*old, anew], CASE, "env", 0).rounds == old
    assert history([*old, anew], CASE, "env", 2).rounds == []
    broken = failure(CASE, generation=1)
    assert history([*old, broken], CASE, "env") == ([], broken)


def test_first_record_of_a_duplicate_round_counts():
    first, second = measurement(CASE, samples_s=[0.01]), measurement(CASE, samples_s=[0.02])
    assert history([first, second], CASE, "env").rounds == [first]

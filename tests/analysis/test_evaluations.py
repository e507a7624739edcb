"""Evaluations on record: which count, their intervals, and the accuracies that rows get."""

import msgspec
import pytest
from scipy.stats import binomtest
from support.records import evaluation, failure

from bench.analysis import evaluations
from bench.paper import accuracy
from bench.paper.accuracy import Accuracy, Given
from bench.records import Case, of_cases, of_evaluations, of_profiles

MODEL = "net.py:net#0a1b2c3d+w.pt#01234567"
CASE = Case(MODEL, "train")


def test_the_interval_of_an_accuracy_is_wilsons():
    found = evaluations.top1(evaluation(CASE, 150))
    expected = binomtest(150, 200).proportion_ci(method="wilson")
    assert found == pytest.approx((0.75, expected.low, expected.high))
    whole = evaluations.agreement(evaluation(CASE, 150, same=200))
    assert whole == pytest.approx((1.0, 200 / (200 + 1.959964**2), 1.0))


def test_the_last_evaluation_of_a_case_on_a_data_set_counts():
    other = evaluation(CASE, 1, dataset="others")
    records = [evaluation(CASE, 10), other, evaluation(CASE, 20)]
    assert evaluations.latest(records).made == [evaluation(CASE, 20), other]


def test_a_failure_counts_until_the_case_is_evaluated():
    failed = failure(case=CASE, stage="evaluate")
    assert evaluations.latest([evaluation(CASE, 1), failed]).failures == [failed]
    assert not evaluations.latest([failed, evaluation(CASE, 1)]).failures
    for other in (of_cases, of_profiles):
        assert not list(other([failed, evaluation(CASE, 1)]))
    assert list(of_evaluations([failure(case=CASE, stage="check"), failed])) == [failed]


def test_a_count_above_the_images_is_no_record():
    with pytest.raises(ValueError, match="exceeds the number of images"):
        evaluation(CASE, 201)


def test_an_accuracy_belongs_to_its_form_backend_and_precision():
    int8 = msgspec.structs.replace(CASE, form="rrep", precision="int8", backend="onnxruntime")
    given = evaluations.accuracies([evaluation(CASE, 100), evaluation(int8, 60)])

    def top1(case):
        found = accuracy.of(case.model, case.resolution, given, evaluations.how(case))
        return [each.top1 for each in found]

    assert top1(CASE) == [50.0]
    assert top1(int8) == [30.0]
    assert top1(msgspec.structs.replace(CASE, form="srep")) == [50.0]
    assert top1(msgspec.structs.replace(int8, backend="openvino")) == [50.0]
    assert top1(msgspec.structs.replace(CASE, resolution=64)) == []


def test_the_users_file_comes_before_an_evaluation_and_that_before_the_paper():
    case = Case("resnet50", "plain")
    given = evaluations.accuracies([evaluation(case, 100, dataset="imagenet1k")])
    (found,) = [
        each
        for each in accuracy.of("resnet50", 224, given, evaluations.how(case))
        if each.dataset == "imagenet1k"
    ]
    assert (found.source, found.top1) == ("evaluated", 50.0)
    assert found.low < 50.0 < found.high
    mine = Given("resnet50", Accuracy(99.0, "imagenet1k", 224, "measured", "mine"))
    assert accuracy.of("resnet50", 224, [*given, mine], evaluations.how(case))[0].top1 == 99.0


def test_trainings_of_one_network_are_found_by_its_code():
    several = [
        evaluation(Case(f"net.py:net#0a1b2c3d+{number}.pt#0123456{number}", "train"), 10)
        for number in range(3)
    ]
    other = evaluation(Case("net.py:other#0a1b2c3d+1.pt#01234567", "train"), 10)
    (found,) = evaluations.of_trainings([*several, other]).values()
    assert found == several

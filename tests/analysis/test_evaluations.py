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


def test_the_last_evaluation_of_a_case_on_the_same_images_counts():
    other = evaluation(CASE, 1, images_hash="others")
    calibrated = evaluation(CASE, 1, calibration_hash="photos")
    records = [evaluation(CASE, 10), other, calibrated, evaluation(CASE, 20)]
    assert evaluations.latest(records).made == [other, calibrated, evaluation(CASE, 20)]


def test_the_last_attempt_counts_be_it_a_failure_or_not():
    made = evaluation(CASE, 1)
    failed = failure(CASE, stage="evaluate", data=made.data)
    assert evaluations.latest([made, failed]) == ([], [failed])
    assert evaluations.latest([failed, made]) == ([made], [])
    elsewhere = failure(CASE, stage="evaluate", data="other images")
    assert evaluations.latest([made, elsewhere]) == ([made], [elsewhere])
    for other in (of_cases, of_profiles):
        assert not list(other([failed, made]))
    assert list(of_evaluations([failure(CASE, stage="check"), failed])) == [failed]


def test_a_count_above_the_images_is_no_record():
    with pytest.raises(ValueError, match="exceeds the number of images"):
        evaluation(CASE, 201)


def test_an_accuracy_belongs_to_its_form_backend_and_precision():
    int8 = msgspec.structs.replace(CASE, form="rrep", precision="int8", backend="onnxruntime")
    given = evaluations.accuracies([evaluation(CASE, 100), evaluation(int8, 60)])

    def top1(case, **changes):
        case = msgspec.structs.replace(case, **changes)
        found = accuracy.of(case.model, case.resolution, given, evaluations.how(case))
        return [each.top1 for each in found]

    assert top1(CASE) == [50.0]
    assert top1(int8) == [30.0]
    assert top1(CASE, form="srep", backend="openvino") == [50.0]
    assert top1(int8, backend="openvino") == []
    assert top1(CASE, precision="bf16") == []
    assert top1(CASE, resolution=64) == []


def test_images_with_a_shape_of_their_own_give_no_accuracy_to_others():
    wide = msgspec.structs.replace(CASE, input="3x112x224")
    assert evaluations.accuracies([evaluation(wide, 100)]) == []


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


def weighed(number, name="w.pt", **changes):
    case = Case(f"net.py:net#0a1b2c3d+run-{number}/{name}#0123456{number}", "train")
    case = msgspec.structs.replace(case, **changes)
    return evaluation(case, 10, weights_hash=f"{name} {number}")


def test_trainings_of_one_network_differ_in_their_weights_alone():
    several = [weighed(number) for number in range(3)]
    others = [weighed(1, "w-ema.pt"), weighed(0, form="rrep")]
    assert evaluations.of_trainings([*several, *others]) == [several]


def test_the_same_weights_in_another_batch_are_no_training():
    assert evaluations.of_trainings([weighed(0, batch=32), weighed(0, batch=64)]) == []

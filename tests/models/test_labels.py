"""Labels: what the user may give, whose label wins, and cases with the labels of their runs."""

import msgspec
import pytest
from support.records import CHIP, ENVIRONMENT, failure, timed

from bench.errors import UsageError
from bench.models import labels
from bench.models.labels import Label
from bench.records import Case

OWN = "nets/mine.py:net#1a2b3c4d"
OLD = "nets/mine.py:net#00000000"
CASES = [
    Case(OWN, "plain"),
    Case(OWN, "rrep"),
    Case("net.py:net#11111111+w.pth#22222222", "plain"),
    Case("timm/resnet18", "plain"),
    Case("resnet50", "plain"),
]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("nets/mine.py:net=MyNet", OWN),
        (f"{OWN}=MyNet", OWN),
        ("net.py:net+w.pth=MyNet", CASES[2].model),
        ("timm/resnet18 = MyNet", "timm/resnet18"),
        ("resnet50=MyNet", "resnet50"),
        ("ResNet50=MyNet", "resnet50"),
        ("./nets/mine.py:net=MyNet", OWN),
    ],
)
def test_a_label_names_a_model_as_typed_with_or_without_hash(text, model):
    assert labels.parse([text], CASES, {"./nets/mine.py:net": OWN}) == {model: "MyNet"}


def test_the_path_and_the_label_may_hold_an_equals_sign():
    case = Case("lr=1/a.py:net#1a2b3c4d", "plain")
    assert labels.parse(["lr=1/a.py:net=A, w=2"], [case]) == {case.model: "A, w=2"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["nets/mine.py:net"], "has no equals sign"),
        (["nets/mine.py:net="], "the label is empty"),
        (["nets/mine.py:net=My\x1bNet"], "unprintable"),
        (["nets/yours.py:net=MyNet"], "no case of a model 'nets/yours.py:net'"),
        (["nets/mine.py:net@rrep=MyNet"], "no case of a model"),
        (["nets/mine.py:net=A", "resnet50=a"], "two networks would be called"),
        (["nets/mine.py:net=A", "nets/mine.py:net=B"], "two labels for nets/mine.py:net"),
        (["nets/mine.py:net=resnet50"], "two networks would be called 'ResNet50'"),
        (["resnet50=nets/mine.py:net#1a2b3c4d-rRep"], "two networks would be called"),
    ],
)
def test_a_wrong_label_is_refused_with_a_remedy(texts, said):
    with pytest.raises(UsageError, match=said) as caught:
        labels.parse(texts, CASES)
    assert caught.value.remedy


def test_a_label_of_the_users_file_without_a_case_is_left_alone():
    assert labels.resolve([Label("nobody", "X", "top1.csv:2")], CASES) == {}


def run_with(started_at, **given):
    return msgspec.structs.replace(ENVIRONMENT, started_at=started_at, labels=given)


def test_the_last_run_on_record_wins_whatever_its_date():
    runs = [run_with("2026-02-01", a="old", c="c"), CHIP, run_with("2026-01-01", a="new", b="b")]
    assert labels.on_record(runs) == {"a": "new", "b": "b", "c": "c"}
    assert list(labels.on_record(runs))[-1] == "b"


def test_every_record_of_a_labelled_network_has_its_label_and_keeps_its_id():
    records = [ENVIRONMENT, timed(OWN), failure(Case(OWN, "rrep")), timed("resnet50")]
    found = labels.stamped(records, {OWN: "MyNet"})
    assert [each.case.label for each in found[1:]] == ["MyNet", "MyNet", ""]
    assert [each.case.case_id for each in found[1:]] == [each.case_id for each in records[1:]]
    assert found[0] is ENVIRONMENT


def test_versions_of_a_file_and_networks_of_one_label_stay_apart():
    given = {OLD: "MyNet", "other.py:net#33333333": "Yours", "b.py:net": "Yours", OWN: "MyNet"}
    given["timm/resnet50"] = "ResNet50"
    found = labels.settled(given, [*given, "resnet50"])
    assert found == {OWN: "MyNet", OLD: "MyNet#00000000", "b.py:net": "Yours"}

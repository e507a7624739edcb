"""A network classifies the images of a data set, and is compared with the network as trained."""

import functools

import pytest
import torch
from support.pictures_of_classes import write_classes
from torch import nn

from bench.devices import precision
from bench.errors import UsageError
from bench.harness.images import sets
from bench.harness.protocol.messages import Evaluate
from bench.harness.worker.check import FORM_CEILING, FORM_SAFETY, FORM_TOLERANCE, CheckError
from bench.harness.worker.evaluate import Evaluator, Trained
from bench.models.preprocessing import Preprocessing
from bench.records import Case

CLASSES = ("black", "grey", "white")


class ByMean(nn.Module):
    """Answers with the class whose mean is nearest to that of the image."""

    def __init__(self, classes=3):
        super().__init__()
        means = torch.tensor([(i + 1) / (classes + 1) for i in range(classes)])
        self.register_buffer("means", means)

    def forward(self, x):
        return -((x.mean((1, 2, 3))[:, None] - self.means) ** 2)


class Wrong(ByMean):
    """Does `spoil` to the logits."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def forward(self, x):
        return self.spoil(super().forward(x))


@pytest.fixture
def folder(tmp_path):
    write_classes(tmp_path / "far", CLASSES, 5)
    (tmp_path / "far" / "train").rename(tmp_path / "images")
    return tmp_path / "images"


def wanted_of(folder, **changes):
    found = sets.find(folder, trains=False)
    given = {
        "images_hash": sets.digest_of(found.held_out),
        "images": len(found.held_out),
        "classes": len(found.classes),
    }
    return Evaluate(str(folder), **{**given, **changes})


def evaluated(folder, net, trained=None, batch=4, precision="fp32", told=print, **changes):
    inputs = [torch.zeros(batch, 3, 16, 16)]
    known = Trained(Preprocessing((0, 0, 0), (1, 1, 1)), "hash", trained)
    case = Case("net", "plain", precision=precision, batch=batch, resolution=16)
    own = Evaluator(case, functools.partial(net, inputs[0]), inputs, known)
    return own.evaluate(wanted_of(folder, **changes), told)


@pytest.mark.parametrize("batch", [1, 4, 15, 32])
def test_each_image_is_classified_once_whatever_the_batch(folder, batch):
    found = evaluated(folder, ByMean(), batch=batch)
    assert (found.images, found.top1, found.top5) == (15, 15, None)
    assert (found.same, found.error) == (None, None)


def test_a_wrong_class_is_not_counted(folder):
    found = evaluated(folder, Wrong(lambda logits: logits.roll(1, 1)))
    assert found.top1 == 0


def test_top_5_counts_the_first_five_of_more_classes(tmp_path):
    names = [f"class{number}" for number in range(7)]
    write_classes(tmp_path, names, 1)

    def first_is_wrong(logits):
        return logits.scatter(1, logits.argmax(1, keepdim=True), logits.median(1, True).values)

    net = Wrong(first_is_wrong)
    net.means = ByMean(7).means
    found = evaluated(tmp_path, net)
    assert found.top1 < found.images
    assert found.top5 == found.images


def test_progress_is_told(folder, monkeypatch):
    monkeypatch.setattr("bench.harness.worker.evaluate.TOLD_EVERY_S", -1.0)
    told = []
    evaluated(folder, ByMean(), told=told.append)
    assert told == [4, 8, 12, 15]


def test_a_network_that_agrees_with_itself_as_trained(folder):
    found = evaluated(folder, ByMean(), trained=ByMean())
    assert (found.same, found.found, found.top1_before) == (15, 3, 15)
    assert (found.margin, found.error) == (0.0, 0.0)


def other_for_one(logits):
    """The answer of one image is another one: as if a form were wrong for some images alone."""
    best = logits[:1].argmax(1)
    return torch.cat([logits[:1].index_fill(1, best, -9.0), logits[1:]])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda logits: 1.01 * logits, "a logit differs from the form as trained by"),
        (lambda logits: logits + 0.01, "a logit differs from the form as trained by"),
        (other_for_one, "a logit differs from the form as trained by"),
        (lambda logits: logits * torch.nan, "a logit is not finite"),
        (lambda logits: logits[:1], "no table of logits"),
    ],
)
def test_a_form_that_computes_something_else_is_refused(folder, spoil, said):
    with pytest.raises(CheckError, match=said):
        evaluated(folder, Wrong(spoil), trained=ByMean())


class Tied(nn.Module):
    """Answers the first or the second class for all images, by a small lead; the range is 1."""

    def __init__(self, lead):
        super().__init__()
        self.lead = lead

    def forward(self, x):
        range_of_logits = torch.linspace(-1, 0, len(x))[:, None].expand(-1, 3)
        return range_of_logits + torch.tensor([self.lead, 0.0, -1.0])


@pytest.mark.parametrize(("factor", "is_rounding"), [(0.9, True), (1.1, False)])
def test_another_answer_is_rounding_only_below_the_limit_of_the_form(folder, factor, is_rounding):
    limit = FORM_SAFETY * FORM_TOLERANCE

    def against(lead):
        return evaluated(folder, Tied(-1e-6), trained=Tied(lead), batch=15)

    if is_rounding:
        found = against(factor * limit)
        assert found.same == 0
        assert 0 < found.margin <= found.error <= limit
    else:
        with pytest.raises(CheckError, match="a logit differs from the form as trained by"):
            against(factor * limit)


def test_an_exported_network_has_the_limit_of_its_backend():
    def limit(backend, tolerance):
        case = Case("net", "rrep", backend=backend)
        return Evaluator(case, print, [], Trained(Preprocessing(), "", None), tolerance).limit

    assert limit("eager", 2e-5) == pytest.approx(8e-5)
    assert limit("eager", 4e-4) == pytest.approx(FORM_CEILING)
    assert limit("onnxruntime", 2e-5) == precision.tolerance("fp32", None) > 8e-5


def test_a_network_as_trained_that_is_not_finite_is_refused(folder):
    with pytest.raises(CheckError, match="not finite in the network as trained"):
        evaluated(folder, ByMean(), trained=Wrong(lambda logits: logits * torch.nan))


def test_images_are_cropped_as_in_the_training(folder):
    seen = []

    class Seen(ByMean):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    for share in (None, 1.0):
        found = evaluated(folder, Seen(), crop_share=share)
        assert found.crop_share == (0.875 if share is None else share)
    assert not torch.equal(seen[0], seen[len(seen) // 2])


def test_a_reduced_precision_may_differ_and_is_counted(folder):
    found = evaluated(folder, Wrong(other_for_one), trained=ByMean(), precision="bf16")
    assert found.same == 15 - 4
    assert found.error > 0.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": 10}, "the images have 10 classes, and the network answers 3"),
        ({"images_hash": "other"}, "were changed since the command began"),
        ({"left_out": ["black/0.png"]}, "were changed since the command began"),
    ],
)
def test_images_that_do_not_fit_are_bad_input(folder, changes, said):
    with pytest.raises(UsageError, match=said):
        evaluated(folder, ByMean(), **changes)

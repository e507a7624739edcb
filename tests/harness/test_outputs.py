"""Outputs of any structure are flattened to tensors, all of which a check compares."""

import collections
import dataclasses

import pytest
import torch
from support.networks import conv, head, module, prepared, timed

from bench.harness.worker import prepare
from bench.harness.worker.check import CheckError
from bench.harness.worker.outputs import joined, rows_of, tensors_of


@dataclasses.dataclass
class Detections:
    boxes: torch.Tensor
    label: str
    masks: list


class ModelOutput(collections.OrderedDict):
    """As transformers has it: a dictionary whose values are attributes too."""


def structures(first, second):
    return {
        "tuple": (first, second),
        "list": [first, [second]],
        "dictionary": {"a": first, "b": {"c": second, "d": 3}},
        "dataclass": Detections(first, "cat", [None, second]),
        "named tuple": collections.namedtuple("Pair", "a b")(first, second),
        "model output": ModelOutput(logits=first, hidden=(second,)),
    }


@pytest.mark.parametrize("kind", structures(None, None))
def test_tensors_of_a_structure_are_found_in_order(kind):
    first, second = torch.zeros(1), torch.ones(2)
    found = tensors_of(structures(first, second)[kind])
    assert [id(each) for each in found] == [id(first), id(second)]


def test_rows_are_those_of_images_and_a_table_is_whole():
    images, table = torch.zeros(5, 3), torch.zeros(7)
    assert [len(each) for each in rows_of((images, table), 5, 2)] == [2, 7]
    answers = [[torch.zeros(1, 3), table], [torch.ones(1, 3), table]]
    assert [tuple(each.shape) for each in joined(answers)] == [(2, 3), (7,)]


def returning(structure):
    """A network whose features and classes are in a structure of this kind, with their argmax."""

    def forward(self, x):
        features = self.stem(x)
        classes = self.head(features)
        return structures(features, (classes, classes.argmax(1)))[structure]

    torch.manual_seed(0)
    return module(forward, stem=conv(), head=head())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", structures(None, None))
def test_a_network_with_several_outputs_is_checked(kind, batch):
    _, facts = prepared(lambda: returning(kind), backend="channels_last", batch=batch)
    assert facts.check.against == "eager"
    assert facts.check.largest_relative_error < 1e-5


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fault_in_any_output_is_refused(monkeypatch, wrong, batch):
    """Even in an output whose values are much smaller than those of the others."""

    def make():
        def forward(self, x):
            features = self.stem(x)
            return 1e6 * features, 1e-6 * self.head(features)

        torch.manual_seed(0)
        return module(forward, stem=conv(), head=head())

    def load(model, example, precision):
        def call():
            outputs = list(model(*example))
            outputs[wrong] = 1.01 * outputs[wrong]
            return outputs

        return call

    monkeypatch.setattr(prepare.BACKENDS["channels_last"], "load", load)
    with pytest.raises(CheckError, match="differs from that of 'eager'"):
        prepared(make, backend="channels_last", batch=batch)


def test_an_output_that_a_backend_leaves_out_is_refused(monkeypatch):
    def load(model, example, precision):
        return lambda: model(*example)[:1]

    monkeypatch.setattr(prepare.BACKENDS["channels_last"], "load", load)
    with pytest.raises(CheckError, match="shapes"):
        prepared(lambda: returning("tuple"), backend="channels_last")


def test_a_network_without_a_tensor_in_its_output_is_refused_with_the_reason():
    failed = timed(lambda: module(lambda self, x: {"class": "cat"}))
    assert (failed.stage, failed.error) == ("check", "CheckError")
    assert "no tensor in the output, of type dict" in failed.message


def test_complex_and_integer_outputs_are_compared():
    spectrum = lambda: module(lambda self, x: torch.fft.rfft2(x))  # noqa: E731
    classes = lambda: module(lambda self, x: x.flatten(1).argmax(1))  # noqa: E731
    for make in (spectrum, classes):
        _, facts = prepared(make, backend="channels_last")
        assert facts.check.largest_relative_error < 1e-6

"""The tensors in what a network returns."""

import dataclasses
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch

from bench.harness.worker.outputs import joined, rows_of, tensors_of

A, B = torch.zeros(2, 3), torch.ones(2)


class Pair(NamedTuple):
    first: object
    second: object


@dataclasses.dataclass
class Output:
    logits: object
    loss: object = None


@pytest.mark.parametrize(
    "output",
    [
        (A, B),
        [A, [B]],
        Pair(A, B),
        {"a": A, "b": {"c": B}},
        OrderedDict(a=A, b=B),
        Output(A, (None, "text", B)),
        (Output([A]), 3, {"b": B}),
    ],
)
def test_all_tensors_of_a_nested_output_are_found_in_order(output):
    first, second = tensors_of(output)
    assert first is A
    assert second is B


def test_an_output_without_a_tensor_has_none():
    assert tensors_of(None) == tensors_of((1, "a", {})) == []


def test_rows_are_those_of_images_and_tables_stay_whole():
    table = torch.arange(5)
    assert [each.shape[0] for each in rows_of((A, table), batch=2, rows=1)] == [1, 5]


def test_calls_with_one_image_are_joined_as_one_call():
    calls = [(A[:1], torch.tensor(7.0)), (A[1:], torch.tensor(7.0))]
    rows, scalar = joined(calls)
    assert torch.equal(rows, A)
    assert scalar == 7

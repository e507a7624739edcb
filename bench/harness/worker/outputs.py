"""The tensors in what a network returns: a tensor, a tuple, a dictionary, a dataclass, nested."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def tensors_of(output: object) -> list[Tensor]:
    """Return the tensors of an output in order; other values, such as None, are left out."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):  # also a `ModelOutput` of transformers
        return _tensors_in(list(output.values()))
    if isinstance(output, (tuple, list)):
        return _tensors_in(output)
    if dataclasses.is_dataclass(output):
        return _tensors_in([getattr(output, field.name) for field in dataclasses.fields(output)])
    return []


def rows_of(output: object, batch: int, rows: int) -> list[Tensor]:
    """Return the outputs for the first `rows` images of `batch`.

    A tensor that does not have `batch` rows, such as a table of anchors, is returned whole.
    """
    return picked(output, batch, range(min(rows, batch)))


def picked(output: object, batch: int, rows: Sequence[int]) -> list[Tensor]:
    """Return the outputs for the images `rows` of `batch`; a tensor without such rows, whole."""
    numbers = list(rows)
    return [each[numbers] if has_rows(each, batch) else each for each in tensors_of(output)]


def joined(answers: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Join the outputs of calls with one image each, as one call with all images returns them."""
    columns = zip(*answers, strict=True)
    return [torch.cat(each) if has_rows(each[0], 1) else each[0] for each in columns]


def has_rows(tensor: Tensor, batch: int) -> bool:
    """Whether the tensor has one row per image."""
    return tensor.dim() > 0 and tensor.shape[0] == batch


def _tensors_in(values: Sequence[object]) -> list[Tensor]:
    return [tensor for value in values for tensor in tensors_of(value)]

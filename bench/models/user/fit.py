"""Fits the weights of a checkpoint to a network: names, sizes, and what does not fit.

Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import UsageError
from bench.models.user.checkpoint import Weights
from bench.records import Source
from bench.text import some_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and Lightning
COUNTERS = ("total_ops", "total_params", "n_averaged")  # of profilers, and of an average of weights
RGB = 3
SHOWN = 3  # names of each kind in a message


class Sizes(NamedTuple):
    """What weights say about the network: the width of its output, and channels of its input.

    `stems` are the names of the kernels that read the input.
    """

    classes: int
    channels: int
    stems: list[str]


class Fitted(NamedTuple):
    """The tensors by their names in the network, and sentences about how they were found."""

    tensors: dict[str, Tensor]
    notes: list[str]


def fit(weights: Weights, model: nn.Module, file: str) -> Fitted:
    """Name the tensors as `model` does.

    Removes PREFIXES, if no name of the network has them, and COUNTERS. `file` is the name of the
    checkpoint, for the sentences.
    """
    names = model.state_dict().keys()
    tensors = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if name in names or name.rpartition(".")[2] not in COUNTERS
    }
    removed: list[str] = []
    while not tensors.keys() & names and (found := _prefix(tensors)):
        tensors = {name.removeprefix(found): tensor for name, tensor in tensors.items()}
        removed.append(found)
    notes = []
    if weights.keys or removed:
        key = f" under {' / '.join(map(repr, weights.keys))}" if weights.keys else ""
        prefix = f" without the prefix {''.join(removed)!r}" if removed else ""
        notes.append(f"{file}: took the weights{key}{prefix}")
    if len(weights.tensors) > len(tensors):
        last = {name.rpartition(".")[2] for name in weights.tensors}
        notes.append(f"{file}: ignored {', '.join(sorted(last & set(COUNTERS)))}")
    return Fitted(tensors, notes)


def sizes(tensors: dict[str, Tensor], model: nn.Module, classes: int) -> Sizes:
    """Read off the weights how wide the output is, and how many channels the input has.

    `model` has an output of width `classes` and reads images of three channels. A layer whose
    kernel differs only in such a number tells it; without one, the numbers of `model` stay.
    """
    widths, channels = set(), {}
    for name, expected in model.state_dict().items():
        shape = tuple(tensors[name].shape) if name in tensors else ()
        if len(shape) != expected.dim() or shape == tuple(expected.shape) or not shape:
            continue
        if expected.shape[0] == classes and shape[1:] == tuple(expected.shape[1:]):
            widths.add(shape[0])
        is_kernel = len(shape) == 4 and expected.shape[1] == RGB
        if is_kernel and shape[2:] == tuple(expected.shape[2:]) and shape[0] == expected.shape[0]:
            channels[name] = shape[1]
    width = widths.pop() if len(widths) == 1 else classes
    if len(set(channels.values())) == 1:
        return Sizes(width, next(iter(channels.values())), list(channels))
    return Sizes(width, RGB, [])


def set_channels(model: nn.Module, stems: Sequence[str], channels: int) -> None:
    """Make the convolutions with the kernels `stems` read images of `channels`, in place."""
    from torch import nn

    for name in stems:
        stem = model.get_submodule(name.rpartition(".")[0])
        weight = stem.get_parameter("weight")
        kernel = weight.new_empty(weight.shape[0], channels, *weight.shape[2:])
        stem.register_parameter("weight", nn.Parameter(kernel))
        if isinstance(stem, nn.Conv2d):
            stem.in_channels = channels


def check(tensors: dict[str, Tensor], model: nn.Module, source: Source) -> None:
    """Raise UsageError if a name or a shape is not as in `model`; it shows SHOWN of each kind."""
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    missing = [name for name in expected if name not in shapes and not _is_optional(name)]
    unexpected = [name for name in shapes if name not in expected]
    other = [
        f"{name} {_shape(shapes[name])} instead of {_shape(expected[name])}"
        for name in expected
        if name in shapes and shapes[name] != expected[name]
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    if found := [f"{kind}: {some_of(names, SHOWN)}" for kind, names in kinds.items() if names]:
        raise UsageError(
            f"{Path(source.weights).name} has the weights of another network. {'; '.join(found)}",
            "Name the network and the --resolution that the weights were trained for.",
        )


def _prefix(names: dict[str, Tensor]) -> str:
    """Return the prefix that some of the names have; "" if none has one."""
    return next((each for each in PREFIXES if any(name.startswith(each) for name in names)), "")


def _is_optional(name: str) -> bool:
    """Whether old checkpoints lack the tensor: BatchNorm counts its batches since torch 0.4."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "of one number"

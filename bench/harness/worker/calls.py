"""Calls of a network outside the timed loop, which leave no trace in the network or its input.

A network may keep state between calls, such as a grid of the size of its first input, and it may
write into its input. Each call here runs a copy of the network on a copy of the input.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.devices import precision
from bench.harness.worker.outputs import tensors_of
from bench.models.copies import with_own_state

CHECKED_IMAGES = 2  # the first images of the batch, whose outputs are compared with a reference
COMPARED_IMAGES = 8  # images of the batch whose outputs must stay as they were
IN_PLACE = (
    "the network changes its input in place, so that each call gets other images; write "
    "`x = x - mean` instead of `x.sub_(mean)`, or copy the input first: `x = x.clone()`"
)
AT_RANDOM = (
    "the network answers differently each time: two calls on the same images differ by {:.2g} of "
    "the output; pass `training=self.training` to `F.dropout`, and draw no random numbers in "
    "`forward`"
)
FROM_STATE = (
    "the answer for the same images changed by {:.2g} of the output from call to call, because the "
    "network keeps state between calls; reset the state at the start of `forward`"
)


class InputChangedError(Exception):
    """The network writes into its input."""


class NotRepeatableError(Exception):
    """The network answers the same call differently."""


def answer(net: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of the first call of a copy of `net`. Raises InputChangedError."""
    given = [each.clone() for each in inputs]
    output = with_own_state(net)(*given)
    check_inputs(given, inputs)
    return tensors_of(output)


def compared_rows(batch: int) -> list[int]:
    """Return the rows of the images whose outputs must stay: the last one, then seeded others.

    The first CHECKED_IMAGES of them are those of the images that the network never saw.
    """
    others = min(COMPARED_IMAGES, batch) - 1
    return [batch - 1, *random.Random(batch).sample(range(batch - 1), others)]


def check_inputs(given: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    """Raise InputChangedError unless the inputs after a call, `given`, are still `inputs`."""
    if not all(torch.equal(after, before) for after, before in zip(given, inputs, strict=True)):
        raise InputChangedError(IN_PLACE)


def check_answers(net: nn.Module, inputs: Sequence[Tensor], name: str) -> None:
    """Raise NotRepeatableError where two copies of `net` answer differently to the same inputs.

    `name` is the precision of the network.
    """
    answers = (wide(answer(net, inputs)) for _ in range(2))
    change = difference(*answers)
    if not change <= precision.repeatability(name):
        raise NotRepeatableError(AT_RANDOM.format(change))


def wide(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return copies of the outputs on the CPU, in double precision."""
    kinds = [torch.complex128 if each.is_complex() else torch.float64 for each in outputs]
    return [each.to("cpu", kind, copy=True) for each, kind in zip(outputs, kinds, strict=True)]


def difference(earlier: list[Tensor], later: list[Tensor]) -> float:
    """Return max |later - earlier| / max |earlier|, the largest of all outputs; inf for NaN."""
    if [each.shape for each in earlier] != [each.shape for each in later]:
        return float("inf")
    found = 0.0
    for before, after in zip(earlier, later, strict=True):
        if before.numel():
            same = (after == before) | (after.isnan() & before.isnan())
            change = torch.where(same, 0.0, (after - before).abs()).nan_to_num(nan=float("inf"))
            found = max(found, float(change.max()) / (float(before.abs().max()) or 1.0))
    return found

"""Calls of a network outside the timed loop, which leave no trace in the network or its input.

A network may keep state between calls, such as a grid of the size of its first input, and it may
write into its input. Each call here runs a copy of the network on a copy of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.devices import precision
from bench.models.copies import with_own_state

CHECKED_IMAGES = 2  # the first images of the batch, whose outputs are compared
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


def answer(net: nn.Module, images: Tensor) -> Tensor:
    """Return the first answer of a copy of `net`. Raises InputChangedError."""
    given = images.clone()
    output: Tensor = with_own_state(net)(given)
    check_input(given, images)
    return output


def check_input(given: Tensor, images: Tensor) -> None:
    """Raise InputChangedError unless the input after a call, `given`, still equals `images`."""
    if not torch.equal(given, images):
        raise InputChangedError(IN_PLACE)


def check_answers(net: nn.Module, images: Tensor, name: str) -> None:
    """Raise NotRepeatableError where two copies of `net` answer differently to the same images.

    `name` is the precision of the network.
    """
    change = difference(*(first_rows(answer(net, images)) for _ in range(2)))
    if not change <= precision.repeatability(name):
        raise NotRepeatableError(AT_RANDOM.format(change))


def first_rows(output: object) -> list[Tensor]:
    """Return the outputs of the first images in double precision, copied to the CPU."""
    rows = [tensor[:CHECKED_IMAGES] for tensor in (output,) if isinstance(tensor, Tensor)]
    wide = [torch.complex128 if row.is_complex() else torch.float64 for row in rows]
    return [row.to("cpu", kind, copy=True) for row, kind in zip(rows, wide, strict=True)]


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

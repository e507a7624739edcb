"""Checks an exported network beyond its first output: on natural-looking images, and by asking.

White noise excites all frequencies alike, so an average over pixels hardly differs between two of
its images. Smooth images have large areas of one value, as photographs have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from bench.backends import BACKENDS
from bench.backends.backend import Call, WrongEngineError
from bench.harness.worker import check
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.check import CheckError
from bench.harness.worker.inputs import SEED
from bench.harness.worker.outputs import joined, rows_of, tensors_of
from bench.models import preprocessing
from bench.models.gelu import gelus
from bench.records import Artifact, Case

ROUGHEST = 0.05  # a larger tolerance would find gross faults only, which random images show too
NO_IMAGES = (
    "The file of the network was not checked on natural-looking images: its input is no batch of "
    "images in floating point."
)
TOO_ROUGH = (
    "The file of the network was checked on random images only: rounding in float32 alone changes "
    "its answers to natural-looking ones."
)
COARSE = 7  # pixels each way of the noise that is enlarged to an image


class Natural(NamedTuple):
    """Natural-looking images, what the network as trained answers in fp32, and the tolerance.

    `rounding` is what rounding in float32 costs, with its safety. `low` and `high` (C, 1, 1) are
    the values of black and white.
    """

    images: list[Tensor]
    reference: list[Tensor]
    tolerance: float
    rounding: float
    low: Tensor
    high: Tensor

    def further(self, count: int) -> Tensor:
        """Return other natural-looking images of the same size (count, C, H, W)."""
        channels, *size = self.images[0].shape[1:]
        ramp = _ramp(channels, size)
        ramps = [1 - ramp, ramp.flip(-1)]
        clouds = [_clouds(channels, size, SEED + 1 + i) for i in range(count - len(ramps))]
        return self.low + (self.high - self.low) * torch.stack([*ramps, *clouds])


def natural(
    case: Case, original: nn.Module, net: nn.Module, seen: Sequence[Tensor], is_own: bool
) -> Natural | str:
    """Return natural-looking images and the answers of `original`, or NO_IMAGES or TOO_ROUGH.

    Their values are in the range that the network's preprocessing gives; with `is_own`, in that of
    `seen`, since the preprocessing of a user's network is not known. `net` is the form to execute.
    With random weights, rounding in float32 alone changes the answers of some networks to them: the
    tolerance is then FORM_SAFETY * e, where e is its error against float64, at most ROUGHEST.
    """
    if len(seen) != 1 or seen[0].dim() != 4 or not seen[0].is_floating_point():
        return NO_IMAGES
    channels, *size = seen[0].shape[1:]
    if is_own:
        few = seen[0][:CHECKED_IMAGES]
        low, high = few.min().expand(channels), few.max().expand(channels)
    else:
        known = preprocessing.of(original)
        low, high = (torch.tensor(_by_channel(known, pixel, channels)) for pixel in (0.0, 1.0))
    low, high = (each.reshape(-1, 1, 1) for each in (low, high))
    pixels = torch.stack([_clouds(channels, size, SEED), _ramp(channels, size)])
    images = [low + (high - low) * pixels]
    reference = check.outputs(original, images, case)
    rounding = check.FORM_SAFETY * check.rounding(original, images, reference, case)
    if not rounding <= ROUGHEST:
        return TOO_ROUGH
    tolerance = max(check.tolerance(case, net, images, reference), rounding)
    return Natural(images, reference, tolerance, rounding, low, high)


def checked(
    case: Case,
    run: Call,
    inputs: Sequence[Tensor],
    net: nn.Module,
    artifact: Artifact,
    known: Natural | None,
) -> Artifact:
    """Check the answers to natural-looking images; return the artifact with what is executed.

    Raises CheckError, also where the runtime executes something else than it was asked for.
    """
    if known is not None:
        answers = answers_to(case, run, inputs, known.images)
        against = ", ".join([*check.differences(case), "natural-looking images"])
        found = check.compare(answers, known.reference, against, known.tolerance)
        artifact = structs.replace(artifact, smooth_error=found.largest_relative_error)
    try:
        own = gelus(net, [each[:1] for each in inputs])
        return BACKENDS[case.backend].executed(run, artifact, own)
    except WrongEngineError as error:
        raise CheckError(str(error)) from error


def answers_to(
    case: Case, run: Call, inputs: Sequence[Tensor], images: Sequence[Tensor]
) -> list[Tensor]:
    """Return the outputs for other images, which take the places of the first ones of the batch.

    `run` reads `inputs`, which are afterwards what they were.
    """
    together = min(case.batch, CHECKED_IMAGES)
    kept = [each[:together].clone() for each in inputs]
    found = []
    try:
        for first in range(0, CHECKED_IMAGES, together):
            for each, image in zip(inputs, images, strict=True):
                each[:together].copy_(image[first : first + together])
            output = rows_of(run(), case.batch, together)
            found.append([each.clone() for each in tensors_of(output)])
    finally:
        for each, before in zip(inputs, kept, strict=True):
            each[:together].copy_(before)
    return found[0] if len(found) == 1 else joined(found)


def _by_channel(known: preprocessing.Preprocessing, pixel: float, channels: int) -> list[float]:
    """Return (pixel - mean) / std of each channel; those of the first one for further channels."""
    found = [(pixel - mean) / std for mean, std in zip(known.mean, known.std, strict=True)]
    return [found[i] if i < len(found) else found[0] for i in range(channels)]


def _clouds(channels: int, size: Sequence[int], seed: int) -> Tensor:
    """Return low-frequency noise from 0 to 1 (C, H, W)."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, COARSE, COARSE, generator=source)
    return functional.interpolate(coarse, size=tuple(size), mode="bilinear")[0]


def _ramp(channels: int, size: Sequence[int]) -> Tensor:
    """Return a gradient from 0 to 1 (C, H, W), which has another direction in each channel."""
    rows = torch.linspace(0, 1, size[0]).reshape(-1, 1)
    columns = torch.linspace(0, 1, size[1]).reshape(1, -1)
    parts = [each / max(channels - 1, 1) for each in range(channels)]
    return torch.stack([part * rows + (1 - part) * columns for part in parts])

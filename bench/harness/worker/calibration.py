"""Inputs on which the ranges of a quantised network are found, before it is timed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.backends.backend import Calibration
from bench.harness.worker.artifact_check import Natural
from bench.harness.worker.inputs import SEED, first
from bench.models.initialise import Inputs
from bench.records import Case

EACH = 16  # random inputs, and as many natural-looking images
NOT_ACCURATE = (
    "The ranges of its 8-bit integers come from {}, and its answers in integers were compared with "
    "those in float32 on two such images: nothing follows for its accuracy."
)


def synthetic(case: Case, inputs: Inputs, natural: Natural | None) -> Calibration:
    """Return random inputs and natural-looking images, none of which the checks use.

    Without `natural`, all of them are random. Each call gets the batch of the case; where there
    are fewer images than that, they are repeated.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + 1)
        given = [each.clone() for each in inputs(EACH, case.resolution)]
    images, about = first(given, EACH), f"{EACH} random inputs"
    if natural is not None:
        images = [torch.cat([images[0], natural.further(EACH)])]
        about = f"{EACH} random and {EACH} natural-looking images"
    return Calibration(calls_of(images, case.batch), about, digest_of(images))


def calls_of(images: Sequence[Tensor], batch: int) -> list[list[Tensor]]:
    """Divide images into calls of `batch` images; the last ones are left out if they are fewer."""
    count = len(images[0])
    numbers = torch.arange(max(count // batch, 1) * batch) % count
    return [[each[part] for each in images] for part in numbers.split(batch)]


def digest_of(images: Sequence[Tensor]) -> str:
    """Return a hash of the values of tensors, in hexadecimal digits."""
    found = hashlib.sha256()
    for each in images:
        found.update(repr((tuple(each.shape), str(each.dtype))).encode())
        found.update(each.contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()

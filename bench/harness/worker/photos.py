"""Photographs of the user: a network is quantised on some of them, and tested on the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.backends.backend import Calibration, Call
from bench.harness.images.loader import centre_crop
from bench.harness.photos import images_in
from bench.harness.worker.artifact_check import answers_to
from bench.harness.worker.calibration import calls_of, digest_of
from bench.harness.worker.calls import CHECKED_IMAGES
from bench.harness.worker.outputs import has_rows, tensors_of
from bench.models import preprocessing
from bench.records import Agreement, Case

EVERY = 4  # each fourth photograph calibrates
CHANNELS = 3


class Photos:
    """The photographs of a folder, as the network gets them."""

    def __init__(self, folder: str, case: Case, network: nn.Module) -> None:
        shape = case.input or f"{CHANNELS}x{case.resolution}x{case.resolution}"
        transform = centre_crop(preprocessing.of(network), list(map(int, shape.split("x"))))
        self._name = Path(folder).resolve().name
        images = [transform(_read(path)) for path in images_in(Path(folder))]
        self._all = torch.stack(images)

    def checked(self, count: int) -> list[Tensor]:
        """Return the first photographs of the test, repeated where they are fewer than `count`."""
        test = self._test()
        return [test[torch.arange(count) % len(test)]]

    def calibration(self, batch: int) -> Calibration:
        """Return those on which the ranges are found, in calls of `batch`."""
        images = [self._all[::EVERY]]
        about = f"{len(images[0])} images of {self._name}"
        return Calibration(calls_of(images, batch), about, digest_of(images))

    def agreement(
        self, case: Case, run: Call, inputs: Sequence[Tensor], network: nn.Module
    ) -> Agreement | None:
        """Compare the classes that `run`, which reads `inputs`, and `network` find in the others.

        None where the first output is no table of values (images, classes).
        """
        ours, theirs = list[Tensor](), list[Tensor]()
        test = self._test()
        for pair in (test[torch.arange(i, i + 2) % len(test)] for i in range(0, len(test), 2)):
            answer = answers_to(case, run, inputs, [pair])
            with torch.inference_mode():
                reference = tensors_of(network(pair))
            for found, each in ((ours, answer[0]), (theirs, reference[0])):
                if each.dim() != 2 or not has_rows(each, CHECKED_IMAGES):
                    return None
                found.append(each.argmax(1))
        count = len(test)
        same = torch.cat(ours)[:count] == torch.cat(theirs)[:count]
        return Agreement(int(same.sum()), count, len(torch.cat(theirs)[:count].unique()))

    def _test(self) -> Tensor:
        """The photographs on which nothing was calibrated."""
        is_test = torch.arange(len(self._all)) % EVERY != 0
        return self._all[is_test]


def _read(path: Path) -> Any:
    """Return an image in RGB. Raises ValueError that names a file which cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} cannot be read as an image: {error}") from None

"""The pipeline of a network: pixels in memory are resized, cropped, normalised and copied to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.backends import BACKENDS
from bench.harness.images.loader import centre_crop
from bench.harness.worker.outputs import tensors_of
from bench.harness.worker.scenarios import COPY_IN, COPY_OUT, NETWORK, PREPROCESSING
from bench.harness.worker.timing import Step
from bench.models.preprocessing import Preprocessing
from bench.records import Case

WIDTH, HEIGHT = 500, 375  # of a decoded image, as most of ImageNet's have it
NO_IMAGES = "the pipeline turns images in RGB into one input (N, 3, H, W), and {}"


class PipelineError(Exception):
    """The network does not take the images of a pipeline."""


class ImagePipeline:
    """Steps from a batch of decoded images (PIL, RGB) to the answer in the memory of the host.

    The preprocessing is that of the network's own configuration, by timm's transform, one image
    after another in one thread. Raises PipelineError for a network without images.
    """

    def __init__(
        self, case: Case, run: Callable[[], object], inputs: Sequence[Tensor], known: Preprocessing
    ) -> None:
        _check(case, inputs)
        self._run, self._input = run, inputs[0]
        self._before = inputs[0].clone()
        self._transform: Any = centre_crop(known, list(inputs[0].shape[1:]))
        self._images = _decoded(case.batch)
        self._ready, self._output = self._before, object()

    @property
    def steps(self) -> Sequence[Step]:
        """The steps in order."""
        return (
            Step(PREPROCESSING, self._preprocess),
            Step(COPY_IN, lambda: self._input.copy_(self._ready)),
            Step(NETWORK, self._call),
            Step(COPY_OUT, lambda: [each.to("cpu") for each in tensors_of(self._output)]),
        )

    def close(self) -> None:
        """Give the network the images back that it had before."""
        self._input.copy_(self._before)

    def _preprocess(self) -> None:
        self._ready = torch.stack([self._transform(image) for image in self._images])

    def _call(self) -> None:
        self._output = None  # frees its memory before the call
        self._output = self._run()


def _check(case: Case, inputs: Sequence[Tensor]) -> None:
    if not BACKENDS[case.backend].takes_new_images:
        raise PipelineError(f"the backend {case.backend} takes no other images")
    if len(inputs) != 1:
        raise PipelineError(NO_IMAGES.format(f"this network has {len(inputs)} inputs"))
    shape = "x".join(map(str, inputs[0].shape))
    if inputs[0].dim() != 4 or inputs[0].shape[1] != 3 or not inputs[0].is_floating_point():
        raise PipelineError(NO_IMAGES.format(f"the input of this one is {shape}"))


def _decoded(count: int) -> list[Any]:
    """Return images with random pixels; how long a transform takes does not depend on them."""
    from PIL import Image

    source = random.Random(0)
    size = (WIDTH, HEIGHT)
    return [
        Image.frombytes("RGB", size, source.randbytes(3 * WIDTH * HEIGHT)) for _ in range(count)
    ]

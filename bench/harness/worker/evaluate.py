"""Classifies the images of a data set, next to the network as trained in eager fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor, nn

from bench.backends.backend import Call
from bench.devices import clocks, precision
from bench.errors import UsageError
from bench.harness.images import sets
from bench.harness.images.loader import Decoded, batches, centre_crop, in_batches
from bench.harness.input_shape import shape_of
from bench.harness.protocol.messages import Evaluate, Evaluated
from bench.harness.worker.check import FORM_CEILING, FORM_SAFETY, FORM_TOLERANCE, CheckError
from bench.harness.worker.outputs import has_rows, tensors_of
from bench.models.naming import USUAL
from bench.models.preprocessing import Preprocessing
from bench.records import Case

FIRST = 5  # answers among which the class counts for top-5
TOLD_EVERY_S = 2.0
NOT_FINITE = "a logit is not finite"
NO_LOGITS = "the first output of the network is no table of logits (images, classes)"
OTHER_CLASSES = "the images have {} classes, and the network answers {}"
OTHER_LOGITS = (
    "a logit differs from the form as trained by {:.1e} of the range of logits, over {:.1e}"
)


class Trained(NamedTuple):
    """A network as it was trained: its preprocessing, the hash of its weights, and itself.

    `network` is None where the case is the form that was built, in eager fp32.
    """

    preprocessing: Preprocessing
    weights_hash: str
    network: nn.Module | None


class Evaluator(NamedTuple):
    """Classifies images by `run`, which reads `inputs`, and by the network as trained."""

    case: Case
    run: Call
    inputs: Sequence[Tensor]
    trained: Trained
    tolerance: float | None = None  # of the check of the form

    def evaluate(self, wanted: Evaluate, classified: Callable[[int], object]) -> Evaluated:
        """Classify all images; tell `classified` from time to time how many are done.

        Raises UsageError where the images have changed, or have other classes than the network.
        Raises CheckError where fp32 computes something else than the network as trained.
        """
        images = self._images(wanted)
        places = in_batches(range(len(images)), self.case.batch, drop_last=False)
        network, counts, told = self.trained.network, _Counts(), clocks.monotonic()
        for pixels, labels in batches(images, places, wanted.workers):
            answers = self._answers(pixels, wanted.classes)
            counts.add(answers, labels)
            if network is not None:
                counts.compare(answers, labels, self._reference(network, pixels))
            if clocks.monotonic() - told > TOLD_EVERY_S:
                classified(counts.images)
                told = clocks.monotonic()
        known = self._preprocessing(wanted)
        found = counts.found(self.trained.weights_hash, known)
        is_exact = not precision.is_reduced(self.case.precision)
        if found.error is not None and is_exact and not found.error <= self.limit:
            raise CheckError(OTHER_LOGITS.format(found.error, self.limit))
        return found

    @property
    def limit(self) -> float:
        """The largest error of a logit in fp32, relative to the range of logits.

        It is FORM_SAFETY times the limit of the check of the form, since there are more images, and
        that of the check of the backend where this is not eager mode. An image whose first two
        logits are further apart than twice the limit therefore has the same first answer.
        """
        of_form = min(FORM_SAFETY * (self.tolerance or FORM_TOLERANCE), FORM_CEILING)
        if self.case.backend == USUAL.backend:
            return of_form
        return max(of_form, precision.tolerance(self.case.precision, None))

    def _preprocessing(self, wanted: Evaluate) -> Preprocessing:
        known = self.trained.preprocessing
        if wanted.crop_share is None:
            return known
        return structs.replace(known, crop_share=wanted.crop_share)

    def _images(self, wanted: Evaluate) -> Decoded:
        """The images that the parent found. Raises UsageError if they are others now."""
        if len(self.inputs) != 1:
            raise UsageError(
                f"the network has {len(self.inputs)} inputs", "Give it one, a batch of images."
            )
        held_out = sets.find(Path(wanted.path), trains=False).held_out
        left_out = set(wanted.left_out)
        bad = [place for place in range(len(held_out)) if held_out.name(place) in left_out]
        held_out = held_out.without(bad) if bad else held_out
        if sets.digest_of(held_out) != wanted.images_hash:
            raise UsageError(
                f"the images in {wanted.path} were changed since the command began",
                "Run it again.",
            )
        case = self.case
        shape = shape_of(case.input) if case.input else (3, case.resolution, case.resolution)
        return Decoded(held_out, centre_crop(self._preprocessing(wanted), shape))

    def _answers(self, pixels: Tensor, classes: int) -> Tensor:
        """The logits of some images; they take the first places of the batch."""
        count = len(pixels)
        for each in self.inputs:
            each[:count].copy_(pixels)
        output = tensors_of(self.run())
        if not output or output[0].dim() != 2 or not has_rows(output[0], self.case.batch):
            raise CheckError(NO_LOGITS)
        if output[0].shape[1] != classes:
            raise UsageError(
                OTHER_CLASSES.format(classes, output[0].shape[1]),
                "Give the images on whose classes the network was trained, or its weights.",
            )
        return output[0][:count].to("cpu", torch.float32, copy=True)

    def _reference(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """The logits of the network as trained, in eager fp32 on the same device."""
        precision.set_switches("fp32")
        try:
            with torch.inference_mode():
                output = tensors_of(network(pixels.to(self.inputs[0].device)))
        finally:
            precision.set_switches(self.case.precision)
        return output[0].to("cpu", torch.float32, copy=True)


class _Counts:
    """What is counted of images, batch after batch; logits are not kept."""

    def __init__(self) -> None:
        self.images = self._top1 = self._top5 = self._same = self._before = 0
        self._has_more = False  # classes than FIRST
        self._low = self._high = torch.empty(0)  # of the reference, by class
        self._classes: set[int] = set()
        self._margin = self._error = 0.0

    def add(self, answers: Tensor, labels: Tensor) -> None:
        """Count the images whose class is the first answer, or among the first five."""
        if not bool(answers.isfinite().all()):
            raise CheckError(NOT_FINITE)
        self._has_more = answers.shape[1] > FIRST
        among = answers.topk(min(FIRST, answers.shape[1])).indices == labels[:, None]
        self.images += len(labels)
        self._top1 += int((answers.argmax(1) == labels).sum())
        self._top5 += int(among.any(1).sum())

    def compare(self, answers: Tensor, labels: Tensor, reference: Tensor) -> None:
        """Compare answers with those of the network as trained, `reference`."""
        if not bool(reference.isfinite().all()):
            raise CheckError(f"{NOT_FINITE} in the network as trained")
        ours, theirs = answers.argmax(1), reference.argmax(1)
        low, high = reference.amin(0), reference.amax(0)
        is_first = not self._low.numel()
        self._low = low if is_first else torch.minimum(self._low, low)
        self._high = high if is_first else torch.maximum(self._high, high)
        lead = reference.gather(1, theirs[:, None]) - reference.gather(1, ours[:, None])
        self._same += int((ours == theirs).sum())
        self._before += int((theirs == labels).sum())
        self._classes |= set(theirs.tolist())
        self._margin = max(self._margin, float(lead.max()))
        self._error = max(self._error, float((answers - reference).abs().max()))

    def found(self, weights_hash: str, known: Preprocessing) -> Evaluated:
        """All counts; those of a comparison are None without one."""
        compared = bool(self._low.numel())
        span = float((self._high - self._low).max()) or 1.0 if compared else 1.0
        return Evaluated(
            images=self.images,
            crop_share=known.crop_share,
            interpolation=known.interpolation,
            top1=self._top1,
            top5=self._top5 if self._has_more else None,
            weights_hash=weights_hash,
            same=self._same if compared else None,
            found=len(self._classes) if compared else None,
            top1_before=self._before if compared else None,
            margin=self._margin / span if compared else None,
            error=self._error / span if compared else None,
        )

"""Classifies the images of a data set, next to the network as trained in eager fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor, nn

from bench.backends.backend import Call
from bench.devices import precision
from bench.errors import UsageError
from bench.harness.images import sets
from bench.harness.images.loader import Decoded, batches, centre_crop, in_batches
from bench.harness.input_shape import shape_of
from bench.harness.protocol.messages import Evaluate, Evaluated
from bench.harness.worker.check import FORM_TOLERANCE, CheckError
from bench.harness.worker.outputs import has_rows, tensors_of
from bench.models import preprocessing
from bench.models.cost import weights_hash
from bench.models.preprocessing import Preprocessing
from bench.records import Case

FIRST = 5  # answers among which the class counts for top-5
TOLD_EVERY_S = 2.0
REFERENCE = "train"
NO_LOGITS = "the first output of the network is no table of logits (images, classes)"
OTHER_CLASSES = "the images have {} classes, and the network answers {}"
OTHER_ANSWER = (
    "{} of {} images have another first answer than in the form as trained, where its logits "
    "differ by up to {:.1e} of their range; rounding explains {:.1e}"
)
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

    @classmethod
    def of(cls, original: nn.Module, *, is_itself: bool) -> Trained:
        """What is kept of a network before its form is loaded."""
        found = preprocessing.of(original), weights_hash(original)
        return cls(*found, None if is_itself else original)


class Evaluator(NamedTuple):
    """Classifies images by `run`, which reads `inputs`, and by the network as trained."""

    case: Case
    run: Call
    inputs: Sequence[Tensor]
    trained: Trained

    def evaluate(self, wanted: Evaluate, classified: Callable[[int], object]) -> Evaluated:
        """Classify all images; tell `classified` from time to time how many are done.

        Raises UsageError where the images have changed, or have other classes than the network.
        Raises CheckError where fp32 answers differently from the network as trained.
        """
        images = self._images(wanted)
        places = in_batches(range(len(images)), self.case.batch, drop_last=False)
        answers, references, labels = list[Tensor](), list[Tensor](), list[Tensor]()
        told = time.monotonic()
        for pixels, targets in batches(images, places, wanted.workers):
            answers.append(self._answers(pixels, wanted.classes))
            if self.trained.network is not None:
                references.append(self._reference(self.trained.network, pixels))
            labels.append(targets)
            if time.monotonic() - told > TOLD_EVERY_S:
                classified(sum(map(len, labels)))
                told = time.monotonic()
        found = _counted(torch.cat(answers), torch.cat(labels), self.trained.weights_hash)
        if references:
            found = _compared(found, torch.cat(answers), torch.cat(references), torch.cat(labels))
            if not precision.is_reduced(self.case.precision):
                _check(found, precision.tolerance(self.case.precision, None))
        return found

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
        return Decoded(held_out, centre_crop(self.trained.preprocessing, shape))

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


def _counted(answers: Tensor, labels: Tensor, digest: str) -> Evaluated:
    """Count the images whose class is the first answer, or among the first five."""
    if not bool(answers.isfinite().all()):
        raise CheckError("a logit is not finite")
    few = answers.shape[1] <= FIRST
    among = (answers.topk(min(FIRST, answers.shape[1])).indices == labels[:, None]).any(1)
    return Evaluated(
        images=len(labels),
        top1=int((answers.argmax(1) == labels).sum()),
        top5=None if few else int(among.sum()),
        weights_hash=digest,
        same=None,
        found=None,
        top1_before=None,
        margin=None,
        error=None,
    )


def _compared(found: Evaluated, answers: Tensor, references: Tensor, labels: Tensor) -> Evaluated:
    """Add how often the network as trained gives the same first answer, and how logits differ."""
    ours, theirs = answers.argmax(1), references.argmax(1)
    span = float((references.amax(0) - references.amin(0)).max()) or 1.0
    differs = ours != theirs
    lead = references.gather(1, theirs[:, None]) - references.gather(1, ours[:, None])
    fields = {
        "same": int((~differs).sum()),
        "found": len(theirs.unique()),
        "top1_before": int((theirs == labels).sum()),
        "margin": float(lead[differs].max()) / span if bool(differs.any()) else 0.0,
        "error": float((answers - references).abs().max()) / span,
    }
    return structs.replace(found, **fields)


def _check(found: Evaluated, tolerance: float) -> None:
    """Raise CheckError where fp32 computes something else than the network as trained.

    A logit may differ by `tolerance` of the range of logits, as in every check of a case. Another
    first answer is only rounding where both logits are nearly equal.
    """
    error, margin = found.error or 0.0, found.margin or 0.0
    rounding = 2 * FORM_TOLERANCE
    if not error <= tolerance:
        raise CheckError(OTHER_LOGITS.format(error, tolerance))
    if not margin <= rounding:
        other = found.images - (found.same or 0)
        raise CheckError(OTHER_ANSWER.format(other, found.images, margin, rounding))

"""How a network with its weights classifies the images of a data set."""

from __future__ import annotations

import msgspec

from bench.records.case import Case
from bench.records.fields import SCHEMA, Count, Deviation, Integer, Name, Text, Whole


class Evaluation(msgspec.Struct, frozen=True, tag="evaluation", tag_field="type"):
    """How a case classifies the images of a data set, next to its form `train` in eager fp32.

    - `dataset`: the name of the data set; `images_hash`: a hash of the names of its images and of
      their classes; `images`: their number, of `classes` classes.
    - `top1`, `top5`: how many images have their class as the first answer, or among the first five;
      `top5` is None for at most five classes.
    - `weights_hash`: of all weights of the network as it was trained.
    - `same`: how many images have the same first answer in the form `train`, in eager fp32 on the
      same device. `found`: how many different classes that form answers. `top1_before`: how many of
      its answers are right. None where the case itself is that.
    - `margin`: of the images with another first answer, the largest difference between the logits
      of both answers in the form `train`, relative to the range of its logits; 0 without such
      images. `error`: the largest difference of a logit from that of the form `train`, relative to
      the same range, max over classes of (largest - smallest logit of any image).
    - `calibration`: on what the ranges of an int8 network were found; "" for any other.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    dataset: Name
    images_hash: Name
    images: Whole
    classes: Whole
    top1: Count
    top5: Count | None
    weights_hash: Name
    same: Count | None = None
    found: Count | None = None
    top1_before: Count | None = None
    margin: Deviation | None = None
    error: Deviation | None = None
    calibration: Text = ""
    warnings: list[Text] = []
    runtime: dict[Name, Text] = {}
    schema: Integer = SCHEMA

    def __post_init__(self) -> None:
        """Raise ValueError where more images are counted than there are."""
        counts = (self.top1, self.top5, self.same, self.top1_before)
        if max(count or 0 for count in counts) > self.images:
            raise ValueError("a count exceeds the number of images")

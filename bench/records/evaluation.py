"""How a network with its weights classifies the images of a data set."""

from __future__ import annotations

import msgspec

from bench.records.case import Case
from bench.records.fields import (
    SCHEMA,
    Amount,
    Count,
    Deviation,
    Integer,
    Name,
    Ordinal,
    Text,
    Whole,
)


def data_key(dataset: str, images_hash: str, calibration_hash: str) -> str:
    """A key of a data set, its images, and the photographs on which int8 found its ranges."""
    return " ".join(filter(None, [dataset, images_hash, calibration_hash]))


class Evaluation(msgspec.Struct, frozen=True, tag="evaluation", tag_field="type"):
    """How a case classifies the images of a data set, next to its form `train` in eager fp32.

    - `dataset`: the name of the data set; `images_hash`: a hash of the names, classes and sizes of
      its files; `images`: their number, of `classes` classes.
    - `crop_share`, `interpolation`: as in `bench.models.preprocessing.Preprocessing`.
    - `top1`, `top5`: how many images have their class as the first answer, or among the first five;
      `top5` is None for at most five classes.
    - `weights_hash`: a hash of all weights of the network as it was trained.

    The following fields compare the case with the form `train` in eager fp32 on the same device.
    They are None where the case itself is that form in eager fp32.

    - `same`: how many images have the same first answer. `found`: how many different classes the
      form `train` answers. `top1_before`: how many of the answers of the form `train` are right.
    - `error`: the largest difference of a logit between both, relative to the range of logits of
      the form `train`: max over classes of (largest - smallest logit of any image).
    - `margin`: of the images with another first answer, the largest lead in the form `train` of its
      own answer over the other one, relative to the same range; 0 without such images.

    `calibration` says on what the ranges of an int8 network were found, and `calibration_hash` is
    the hash of the user's photographs; both are "" for any other network.
    """

    run_id: Name
    case_id: Name
    case: Case
    environment_id: Name
    dataset: Name
    images_hash: Name
    images: Whole
    classes: Whole
    crop_share: Amount
    interpolation: Name
    top1: Count
    top5: Count | None
    weights_hash: Name
    same: Count | None = None
    found: Count | None = None
    top1_before: Count | None = None
    margin: Deviation | None = None
    error: Deviation | None = None
    calibration: Text = ""
    calibration_hash: Name = ""
    warnings: list[Text] = []
    runtime: dict[Name, Text] = {}
    generation: Ordinal = 0
    schema: Integer = SCHEMA

    @property
    def data(self) -> str:
        """What was classified, as a key: the data set, its images, and the photographs."""
        return data_key(self.dataset, self.images_hash, self.calibration_hash)

    def __post_init__(self) -> None:
        """Raise ValueError where more images are counted than there are."""
        counts = (self.top1, self.top5, self.same, self.top1_before)
        if max(count or 0 for count in counts) > self.images:
            raise ValueError("a count exceeds the number of images")

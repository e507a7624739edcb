"""How images become the input of a network: what timm's configuration of it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

# Mean and standard deviation of ImageNet's pixels, by channel (R, G, B), on a scale from 0 to 1
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preprocessing(msgspec.Struct, frozen=True):
    """x = (pixel - mean) / std by channel, with pixels from 0 to 1, after resizing and cropping.

    The image is resized to the input's size divided by `crop_share`, then cropped at its centre.
    """

    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    interpolation: str = "bicubic"
    crop_share: float = 0.875


IMAGENET = Preprocessing()


def of(network: object) -> Preprocessing:
    """Return the preprocessing of a network of timm; for any other network that of ImageNet."""
    config: Any = getattr(network, "pretrained_cfg", None)
    known = config if isinstance(config, dict) else {}
    names = {
        "mean": "mean",
        "std": "std",
        "interpolation": "interpolation",
        "crop_share": "crop_pct",
    }
    return Preprocessing(**{own: known[name] for own, name in names.items() if name in known})

"""Recipes of a training: the paper's (Section 4.1, Tables 2-4), or a TOML file of the user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from bench.storage import shipped

SHIPPED = Path(__file__).with_name("recipes")

# That of ConvNeXt, up to magnitude 9: at 10, timm keeps no bit of a colour, which Pillow refuses
RAND_AUGMENT = "rand-m9-mstd0.5-inc1-mmax9"

Count = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
PositiveShare = Annotated[float, msgspec.Meta(gt=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e3)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e3)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network is trained. 0 leaves a part out.

    AdamW with a cosine schedule: the rate rises linearly from `first_rate` to `rate` in
    `warmup_epochs`, then falls to `last_rate`. `batch` images make an update. `resolution` is in
    pixels. `rand_augment` is the text that timm takes, "" for none; `colour_jitter` counts without
    it alone. `least_crop` is the smallest share of the area that a random crop has, `crop_share`
    the share of the side that the centre crop of held-out images has. `drop_path` is the largest
    rate of stochastic depth; `ema` the decay of the average of the weights, which rises to it.
    `clip` limits the norm of the gradients.
    """

    epochs: Count
    batch: Count
    rate: Positive
    resolution: Count = 224
    warmup_epochs: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 20
    first_rate: Amount = 1e-6
    last_rate: Amount = 1e-6
    weight_decay: Amount = 0.05
    mixup: Amount = 0.8
    cutmix: Amount = 1.0
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    rand_augment: str = RAND_AUGMENT
    colour_jitter: Share = 0.4
    erase: Share = 0.25
    flip: Share = 0.5
    least_crop: PositiveShare = 0.08
    crop_share: PositiveShare = 0.875
    drop_path: Share = 0.1
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9999
    clip: Amount = 0.0


def names() -> list[str]:
    """Return the names of the recipes that ship with `bench`, sorted."""
    return shipped.names(SHIPPED)


def load(name: str) -> Recipe:
    """Read the shipped recipe `name`, or the file at the path `name` (ending in .toml).

    Raises UsageError where it does not exist, is unreadable or is not valid.
    """
    return shipped.load(name, SHIPPED, Recipe, "recipe")

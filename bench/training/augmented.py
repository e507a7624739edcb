"""Images to train on, changed at random as the recipe says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from torch import Tensor

from bench.errors import UsageError
from bench.harness.images.loader import Decoded, centre_crop
from bench.harness.images.sets import Images
from bench.models.preprocessing import Preprocessing
from bench.text import brief
from bench.training import seeds
from bench.training.recipe import RAND_AUGMENT, Recipe


class Augmented(Decoded):
    """Images as tensors (3, H, W). Their random changes depend on `place` and the image alone."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor], *place: object) -> None:
        super().__init__(images, transform)
        self._place = place

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return an image and the number of its class. Raises UsageError that names a bad image."""
        seeds.seed_image(*self._place, place)
        image = self._opened(place)
        try:
            return self._transform(image), self._images.label(place)
        except ValueError as error:
            raise UsageError(
                f"{self._images.name(place)} cannot be augmented: {brief(error)}",
                f"Use another `rand_augment` in the recipe: {RAND_AUGMENT}",
            ) from error


def held_out(recipe: Recipe, known: Preprocessing) -> Any:
    """Return the transform of images that are not trained on: a centre crop."""
    shape = (3, recipe.resolution, recipe.resolution)
    return centre_crop(msgspec.structs.replace(known, crop_share=recipe.crop_share), shape)


def augmentation(recipe: Recipe, known: Preprocessing) -> Any:
    """Return timm's random transform. Raises UsageError for an unknown `rand_augment`."""
    from timm.data.transforms_factory import create_transform

    try:
        return create_transform(
            input_size=(3, recipe.resolution, recipe.resolution),
            interpolation=known.interpolation,
            mean=tuple(known.mean),
            std=tuple(known.std),
            is_training=True,
            scale=(recipe.least_crop, 1.0),
            hflip=recipe.flip,
            color_jitter=recipe.colour_jitter,
            auto_augment=recipe.rand_augment or None,
            re_prob=recipe.erase,
            re_mode="pixel",
        )
    except (AssertionError, KeyError, ValueError) as error:
        raise UsageError(
            f"timm has no augmentation {recipe.rand_augment!r}", f"For example: {RAND_AUGMENT}"
        ) from error

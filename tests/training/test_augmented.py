"""Images to train on: their random changes, and their order."""

import pytest
import torch
from support.pictures_of_classes import write_classes

from bench.errors import UsageError
from bench.harness.images import sets
from bench.models.preprocessing import Preprocessing
from bench.training import seeds
from bench.training.augmented import Augmented, augmentation, held_out
from bench.training.recipe import Recipe

RECIPE = Recipe(epochs=1, batch=2, rate=0.1, resolution=16)


def test_an_unknown_augmentation_is_one_message():
    wrong = Recipe(epochs=1, batch=2, rate=0.1, rand_augment="random")
    with pytest.raises(UsageError, match="timm has no augmentation 'random'"):
        augmentation(wrong, Preprocessing())


def test_the_change_of_an_image_depends_on_seed_epoch_and_place_alone(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    found = sets.find(tmp_path).training
    random = augmentation(RECIPE, Preprocessing())

    def image(seed, epoch, place):
        return Augmented(found, random, seed, epoch)[place][0]

    first = image(0, 1, 2)
    torch.manual_seed(99)
    assert first.shape == (3, 16, 16)
    assert torch.equal(image(0, 1, 2), first)
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(image(*other), first)


def test_an_order_depends_on_its_place_alone():
    assert seeds.order(50, 0, "order", 3) == seeds.order(50, 0, "order", 3)
    assert seeds.order(50, 0, "order", 3) != seeds.order(50, 0, "order", 4)
    assert sorted(seeds.order(50, 1)) == list(range(50))


def test_held_out_images_are_cut_as_the_recipe_says(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    images = sets.find(tmp_path).held_out
    near, far = (
        held_out(
            Recipe(epochs=1, batch=2, rate=0.1, resolution=16, crop_share=share), Preprocessing()
        )
        for share in (1.0, 0.5)
    )
    assert near(images.open(0)).shape == far(images.open(0)).shape == (3, 16, 16)
    assert not torch.equal(near(images.open(0)), far(images.open(0)))

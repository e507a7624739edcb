"""Recipes of a training: the paper's, and what a file of the user may say."""

import pytest

from bench.errors import UsageError
from bench.training import recipe
from bench.training.recipe import Recipe


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "rate", "resolution"),
    [  # the captions of Tables 4, 2 and 3
        ("imagenet1k", 450, 1024, 1e-3, 224),
        ("imagewoof", 300, 512, 5e-4, 224),
        ("cifar100", 600, 512, 5e-4, 64),
    ],
)
def test_the_shipped_recipes_are_those_of_the_papers_tables(name, epochs, batch, rate, resolution):
    found = recipe.load(name)
    assert (found.epochs, found.batch, found.rate) == (epochs, batch, rate)
    assert (found.resolution, found.warmup_epochs) == (resolution, 20)
    assert name in recipe.names()


def test_a_recipe_of_the_user_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\nbatch = 8\nrate = 0.01\nmixup = 0\n")
    assert recipe.load(str(path)) == Recipe(epochs=3, batch=8, rate=0.01, mixup=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 3\nbatch = 8\nrate = 0.01\nlr = 1", "lr"),
        ("epochs = 0\nbatch = 8\nrate = 0.01", "epochs"),
        ("epochs = 3\nbatch = 8", "rate"),
        ("epochs = 3\nbatch = 8\nrate = 0.01\nema = 1.0", "ema"),
        ("epochs = 3\nbatch = 8\nrate = 0.01\nlabel_smoothing = 1.0", "label_smoothing"),
        ("epochs = 3\nbatch = 8\nrate = 0.01\nleast_crop = 0.0", "least_crop"),
        ("epochs =", "is not a valid recipe"),
    ],
)
def test_a_recipe_that_is_not_valid_is_one_message(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a valid recipe") as caught:
        recipe.load(str(path))
    assert said in caught.value.message
    assert "Valid keys are: epochs" in str(caught.value)


def test_a_recipe_that_is_not_there_is_one_message():
    with pytest.raises(UsageError, match="Did you mean imagewoof"):
        recipe.load("imagewof")
    with pytest.raises(UsageError, match=r"cannot read the recipe nowhere\.toml"):
        recipe.load("nowhere.toml")

"""Data of a training: folders, a zip, CIFAR files, and what is wrong with them."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures_of_classes import write_classes

from bench.errors import UsageError
from bench.models.preprocessing import Preprocessing
from bench.training import data, seeds
from bench.training.recipe import Recipe

RECIPE = Recipe(epochs=1, batch=2, rate=0.1, resolution=16)


def test_folders_of_classes_are_found_in_order(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    found = data.find(tmp_path)
    assert found.classes == ["cat", "dog"]
    assert (len(found.training), len(found.held_out)) == (6, 4)
    assert [found.training.label(place) for place in range(6)] == [0, 0, 0, 1, 1, 1]
    assert found.training.name(0) == "train/cat/0.png"
    assert found.training.open(0).size == (20, 24)


def test_a_zip_has_the_same_images_as_its_folder(tmp_path):
    write_classes(tmp_path / "set", ("cat", "dog"), 2)
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for each in sorted((tmp_path / "set").rglob("*.png")):
            packed.write(each, each.relative_to(tmp_path / "set"))
    of_folder, of_zip = data.find(tmp_path / "set"), data.find(path)
    assert of_zip.digest == of_folder.digest
    assert of_zip.training.open(1).tobytes() == of_folder.training.open(1).tobytes()


def write_cifar(folder):
    """The files of CIFAR-100 in torchvision's format, without the hashes that it checks."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("train", 4), ("test", 2)):
        images = {"data": rng.integers(0, 255, (count, 3072), np.uint8), "fine_labels": [0, 1] * 2}
        images["fine_labels"] = images["fine_labels"][:count]
        (folder / name).write_bytes(pickle.dumps(images))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bear"]}))


def test_torchvisions_cifar_files_are_found_and_damaged_ones_refused(tmp_path, monkeypatch):
    write_cifar(tmp_path / "cifar-100-python")
    with pytest.raises(UsageError, match=r"cannot read .*cifar-100-python"):
        data.find(tmp_path)  # torchvision knows the hashes of the real files
    monkeypatch.setattr("torchvision.datasets.CIFAR100._check_integrity", lambda self: True)
    monkeypatch.setattr(
        "torchvision.datasets.cifar.check_integrity", lambda path, digest=None: True
    )
    found = data.find(tmp_path)
    assert found.classes == ["apple", "bear"]
    assert (len(found.training), len(found.held_out)) == (4, 2)
    assert found.training.open(3).size == (32, 32)
    assert found.training.label(3) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "there is no folder or zip"),
        (lambda folder: folder.mkdir(), "has no images to train on"),
        (lambda folder: write_classes(folder, ("cat",), 2), "images of one class only, cat"),
        (lambda folder: folder.write_bytes(b"no zip"), "is no zip file"),
    ],
)
def test_data_that_cannot_be_used_is_one_message(tmp_path, make, said):
    make(tmp_path / "set")
    with pytest.raises(UsageError, match=said):
        data.find(tmp_path / "set")


def test_classes_that_only_held_out_images_have_are_named(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 2)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "wolf")
    with pytest.raises(UsageError, match="held-out images of wolf, and none to train on"):
        data.find(tmp_path)


def test_images_that_cannot_be_read_are_found_and_named(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    (tmp_path / "train" / "dog" / "1.png").write_bytes(b"no image")
    found = data.find(tmp_path).training
    assert data.unreadable(found) == [4]
    assert len(found.without([4])) == 5
    images = data.Augmented(found, lambda image: torch.zeros(1), 0)
    with pytest.raises(UsageError, match=r"train/dog/1\.png cannot be read as an image"):
        images[4]


def test_the_change_of_an_image_depends_on_seed_epoch_and_place_alone(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    found = data.find(tmp_path).training
    random = data.transform(RECIPE, Preprocessing(), is_training=True)

    def image(seed, epoch, place):
        return data.Augmented(found, random, seed, epoch)[place][0]

    first = image(0, 1, 2)
    torch.manual_seed(99)
    assert first.shape == (3, 16, 16)
    assert torch.equal(image(0, 1, 2), first)
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(image(*other), first)


def test_held_out_images_are_cut_at_their_centre(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    plain = data.transform(RECIPE, Preprocessing(), is_training=False)
    images = [data.Augmented(data.find(tmp_path).held_out, plain, seed)[0][0] for seed in (0, 1)]
    assert torch.equal(*images)


def test_batches_have_the_images_of_their_places(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    found = data.find(tmp_path).training
    plain = data.transform(RECIPE, Preprocessing(), is_training=False)
    images = data.Augmented(found, plain, 0)
    assert data.in_batches([5, 0, 3, 1, 2], 2, drop_last=True) == [[5, 0], [3, 1]]
    assert data.in_batches([5, 0, 3], 2, drop_last=False) == [[5, 0], [3]]
    for workers in (0, 1):
        (first, labels), (second, _) = data.batches(images, [[5, 0], [3, 1]], workers)
        assert labels.tolist() == [1, 0]
        assert torch.equal(first[1], images[0][0])
        assert torch.equal(second[0], images[3][0])


def test_an_order_depends_on_its_place_alone():
    assert seeds.order(50, 0, "order", 3) == seeds.order(50, 0, "order", 3)
    assert seeds.order(50, 0, "order", 3) != seeds.order(50, 0, "order", 4)
    assert sorted(seeds.order(50, 1)) == list(range(50))


def test_a_picture_of_another_mode_is_read_in_colour(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    Image.new("L", (20, 24), 7).save(tmp_path / "train" / "cat" / "0.png")
    assert data.find(tmp_path).training.open(0).mode == "RGB"

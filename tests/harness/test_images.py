"""Sets of images: folders, a zip, CIFAR files, batches of them, and what is wrong with them."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures_of_classes import write_classes

from bench.errors import UsageError
from bench.harness.images import loader, sets
from bench.models.preprocessing import Preprocessing

CROP = loader.centre_crop(Preprocessing(), (3, 16, 16))


def packed(folder):
    """A zip of the images in a folder, beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as written:
        for each in sorted(folder.rglob("*.png")):
            written.write(each, each.relative_to(folder))
    return path


def test_folders_of_classes_are_found_in_order(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    found = sets.find(tmp_path)
    assert found.classes == ["cat", "dog"]
    assert (len(found.training), len(found.held_out)) == (6, 4)
    assert [found.training.label(place) for place in range(6)] == [0, 0, 0, 1, 1, 1]
    assert found.training.name(0) == "train/cat/0.png"
    assert found.training.open(0).size == (20, 24)


def test_a_zip_has_the_same_images_as_its_folder(tmp_path):
    write_classes(tmp_path / "set", ("cat", "dog"), 2)
    path = packed(tmp_path / "set")
    of_folder, of_zip = sets.find(tmp_path / "set"), sets.find(path)
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
    with pytest.raises(UsageError, match="lacks files of torchvision's CIFAR100, or has damaged"):
        sets.find(tmp_path)  # torchvision knows the hashes of the real files
    monkeypatch.setattr("torchvision.datasets.CIFAR100._check_integrity", lambda self: True)
    monkeypatch.setattr(
        "torchvision.datasets.cifar.check_integrity", lambda path, digest=None: True
    )
    found = sets.find(tmp_path)
    assert found.classes == ["apple", "bear"]
    assert (len(found.training), len(found.held_out)) == (4, 2)
    assert found.training.open(3).size == (32, 32)
    assert found.training.label(3) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "there is no folder or zip"),
        (lambda folder: folder.mkdir(), "has no images to train on"),
        (
            lambda folder: write_classes(folder, ("cat",), 2),
            "images of only one class to train on: cat",
        ),
        (lambda folder: folder.write_bytes(b"no zip"), "is no zip file"),
    ],
)
def test_data_that_cannot_be_used_is_one_message(tmp_path, make, said):
    make(tmp_path / "set")
    with pytest.raises(UsageError, match=said):
        sets.find(tmp_path / "set")


def test_data_without_held_out_images_is_refused(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 2)
    (tmp_path / "val").rename(tmp_path / "others")
    with pytest.raises(UsageError, match="has no held-out images"):
        sets.find(tmp_path)


def test_links_and_folders_within_a_class_count_and_other_files_are_counted(tmp_path):
    write_classes(tmp_path / "far", ("cat", "dog"), 2)
    (tmp_path / "set").mkdir()
    for part in ("train", "val"):
        (tmp_path / "set" / part).symlink_to(tmp_path / "far" / part)
    more = tmp_path / "far" / "train" / "cat" / "more"
    more.mkdir()
    (more.parent / "0.png").rename(more / "0.png")
    (more / "notes.txt").write_text("no image")
    found = sets.find(tmp_path / "set")
    assert (found.classes, len(found.training), found.ignored) == (["cat", "dog"], 4, 1)


def test_classes_that_only_held_out_images_have_are_named(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 2)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "wolf")
    with pytest.raises(UsageError, match="held-out images of wolf, and none to train on"):
        sets.find(tmp_path)


def test_images_that_cannot_be_read_are_found_and_named(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    (tmp_path / "train" / "dog" / "1.png").write_bytes(b"no image")
    found, said = sets.find(tmp_path), []
    with pytest.raises(UsageError, match=r"1 of 6 images cannot be read: train/dog/1\.png"):
        sets.readable(found, said.append)
    kept = sets.readable(found, said.append, skips_unreadable=True)
    assert said == ["left out: 1 of 6 images cannot be read: train/dog/1.png"]
    assert len(kept.training) == 5
    assert kept.digest != found.digest


def test_a_class_of_which_no_image_can_be_read_is_named(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    (tmp_path / "train" / "dog" / "0.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="what is left has no image of dog to train on"):
        sets.readable(sets.find(tmp_path), lambda _: None, skips_unreadable=True)


def constant(image):
    return torch.zeros(1)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_later_is_named_without_a_traceback(tmp_path, workers):
    write_classes(tmp_path, ("cat", "dog"), 3)
    images = loader.Decoded(sets.find(tmp_path).training, constant)
    (tmp_path / "train" / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"^train/dog/1\.png cannot be read as an image") as caught:
        list(loader.batches(images, [[0, 1], [4, 2]], workers))
    assert "Traceback" not in caught.value.message
    assert caught.value.remedy == "Remove or repair it, or add --skip-unreadable."


def test_an_open_zip_is_not_sent_to_another_process(tmp_path):
    write_classes(tmp_path / "set", ("cat", "dog"), 1)
    path = packed(tmp_path / "set")
    images = sets.find(path).training
    images.open(0)
    assert pickle.loads(pickle.dumps(images)).open(0).size == (20, 24)


def test_held_out_images_are_cut_at_their_centre(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    images = loader.Decoded(sets.find(tmp_path).held_out, CROP)
    first, label = images[0]
    assert (first.shape, label) == ((3, 16, 16), 0)
    assert torch.equal(images[0][0], first)


def test_batches_have_the_images_of_their_places(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    images = loader.Decoded(sets.find(tmp_path).training, CROP)
    assert loader.in_batches([5, 0, 3, 1, 2], 2, drop_last=True) == [[5, 0], [3, 1]]
    assert loader.in_batches([5, 0, 3], 2, drop_last=False) == [[5, 0], [3]]
    for workers in (0, 1):
        (first, labels), (second, _) = loader.batches(images, [[5, 0], [3, 1]], workers)
        assert labels.tolist() == [1, 0]
        assert torch.equal(first[1], images[0][0])
        assert torch.equal(second[0], images[3][0])


def test_a_picture_of_another_mode_is_read_in_colour(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 1)
    Image.new("L", (20, 24), 7).save(tmp_path / "train" / "cat" / "0.png")
    assert sets.find(tmp_path).training.open(0).mode == "RGB"


@pytest.mark.parametrize("below", ["", "val", "deep/in/val", "sample"])
def test_images_to_classify_need_no_images_to_train_on(tmp_path, below):
    write_classes(tmp_path / "far", ("cat", "dog"), 2)
    target = tmp_path / "set" / below
    target.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "far" / "val").rename(target)
    found = sets.find(tmp_path / "set", trains=False)
    assert (found.classes, len(found.training), len(found.held_out)) == (["cat", "dog"], 0, 4)
    assert [found.held_out.label(place) for place in range(4)] == [0, 0, 1, 1]
    of_zip = sets.find(packed(tmp_path / "set"), trains=False)
    assert sets.digest_of(of_zip.held_out) == sets.digest_of(found.held_out)


def test_with_images_to_train_on_only_the_held_out_ones_are_classified(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), 3)
    (tmp_path / "train" / "dog" / "1.png").write_bytes(b"no image")
    found = sets.find(tmp_path, trains=False)
    assert sets.readable(found, pytest.fail, trains=False).held_out is found.held_out


@pytest.mark.parametrize(
    ("classes", "said"), [(("cat",), "images of only one class: cat"), ((), "has no images")]
)
def test_too_few_classes_to_classify_are_one_message(tmp_path, classes, said):
    (tmp_path / "val").mkdir()
    write_classes(tmp_path / "far", classes, 1)
    for name in classes:
        (tmp_path / "far" / "val" / name).rename(tmp_path / "val" / name)
    with pytest.raises(UsageError, match=said):
        sets.find(tmp_path / "val", trains=False)

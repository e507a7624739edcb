"""Data of a training: folders of classes, a zip of such folders, or torchvision's CIFAR files."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.errors import UsageError
from bench.harness.photos import ENDS
from bench.models.preprocessing import Preprocessing
from bench.text import some_of
from bench.training import seeds
from bench.training.recipe import Recipe

TRAINING, HELD_OUT = ("train",), ("val", "valid", "validation", "test")
MOST_DECODED = 50_000  # images that are decoded before a training begins
CIFAR = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100"}
LAYOUT = (
    "A folder or zip has `train/CLASS/image.jpg` and `val/CLASS/image.jpg` (or test/); the CIFAR "
    "files of torchvision lie in cifar-100-python or cifar-10-batches-py."
)


class Images(Protocol):
    """A set of images with their classes."""

    def __len__(self) -> int:
        """The number of images."""

    def name(self, place: int) -> str:
        """What an image is called in messages."""

    def label(self, place: int) -> int:
        """The number of its class."""

    def open(self, place: int) -> Any:
        """Return it in RGB. Raises OSError or another error where it cannot be decoded."""

    def is_readable(self, place: int) -> bool:
        """Whether it can be read, see `unreadable`."""

    def without(self, places: Sequence[int]) -> Images:
        """The same images without those at `places`."""


class Data(NamedTuple):
    """Images to train on, images that are held out, and the names of the classes.

    `digest` is a hash of the names of all images and their classes.
    """

    training: Images
    held_out: Images
    classes: list[str]
    digest: str


class Files:
    """Images in files below a folder, or in a zip: pairs of a path and a class."""

    def __init__(self, root: Path, entries: Sequence[tuple[str, int]]) -> None:
        self._root = root
        self._entries = list(entries)
        self._zip: zipfile.ZipFile | None = None
        self._of_process = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self._entries)

    def name(self, place: int) -> str:
        """The path of an image in the folder or zip."""
        return self._entries[place][0]

    def label(self, place: int) -> int:
        """The number of its class."""
        return self._entries[place][1]

    def open(self, place: int) -> Any:
        """Decode an image in RGB."""
        from PIL import Image

        with Image.open(self._content(self.name(place))) as image:
            return image.convert("RGB")

    def is_readable(self, place: int) -> bool:
        """Whether an image can be decoded, or its beginning can where there are many."""
        from PIL import Image

        try:
            with Image.open(self._content(self.name(place))) as image:
                if len(self) <= MOST_DECODED:
                    image.load()
        except Exception:  # decoders raise errors of many types
            return False
        return True

    def without(self, places: Sequence[int]) -> Files:
        """The same images without those at `places`."""
        left_out = set(places)
        kept = [each for place, each in enumerate(self._entries) if place not in left_out]
        return Files(self._root, kept)

    def _content(self, name: str) -> Any:
        if self._root.is_dir():
            return self._root / name
        if self._zip is None or self._of_process != os.getpid():  # a handle for each process
            self._zip, self._of_process = zipfile.ZipFile(self._root), os.getpid()
        return io.BytesIO(self._zip.read(name))


class Cifar:
    """The images of torchvision's CIFAR files, which are in memory."""

    def __init__(self, images: Any) -> None:
        self._images = images

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images.data)

    def name(self, place: int) -> str:
        """The number of an image."""
        return f"image {place}"

    def label(self, place: int) -> int:
        """The number of its class."""
        return int(self._images.targets[place])

    def open(self, place: int) -> Any:
        """Return an image in RGB."""
        from PIL import Image

        return Image.fromarray(self._images.data[place])

    def is_readable(self, place: int) -> bool:
        """True: torchvision has read all images."""
        return True

    def without(self, places: Sequence[int]) -> Cifar:
        """The same images: all are readable."""
        return self


def find(path: Path) -> Data:
    """Return the data at `path`. Raises UsageError where there is none, or only one class."""
    cifar = next((name for name in CIFAR if (path / name).is_dir()), None)
    if cifar:
        return _cifar(path, cifar)
    if not path.exists():
        raise UsageError(f"there is no folder or zip {path}", LAYOUT)
    names = _names(path)
    training, held_out = (_part(path, names, kinds) for kinds in (TRAINING, HELD_OUT))
    classes = sorted({_class_of(name) for name in training})
    if len(classes) < 2:
        found = "no images" if not classes else f"images of one class only, {classes[0]}"
        raise UsageError(f"{path} has {found} to train on", LAYOUT)
    if strangers := sorted({_class_of(name) for name in held_out} - set(classes)):
        raise UsageError(
            f"{path} has held-out images of {some_of(strangers)}, and none to train on",
            "The folders of both parts must have the same names.",
        )
    if not held_out:
        raise UsageError(f"{path} has no held-out images", LAYOUT)
    number = {name: place for place, name in enumerate(classes)}
    parts = [
        Files(path, [(name, number[_class_of(name)]) for name in part])
        for part in (training, held_out)
    ]
    digest = hashlib.sha256("\n".join([*training, *held_out]).encode()).hexdigest()[:16]
    return Data(parts[0], parts[1], classes, digest)


def unreadable(images: Images) -> list[int]:
    """Return the places of images that cannot be read.

    Of more than MOST_DECODED images, only the beginning is read: the training names any other one.
    """
    return [place for place in range(len(images)) if not images.is_readable(place)]


def _names(path: Path) -> list[str]:
    """The paths of all images below `path`, relative to it, sorted."""
    if path.is_dir():
        every = (each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    else:
        try:
            with zipfile.ZipFile(path) as opened:
                every = iter(opened.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path} is no zip file: {error}", LAYOUT) from error
    return sorted(name for name in every if Path(name).suffix.lower() in ENDS)


def _part(path: Path, names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """The images of a part: below the first folder of one of these names."""
    for kind in kinds:
        if found := [name for name in names if kind in Path(name).parts[:-2]]:
            return found
    return []


def _class_of(name: str) -> str:
    return Path(name).parts[-2]


def _cifar(path: Path, folder: str) -> Data:
    from torchvision import datasets

    make = getattr(datasets, CIFAR[folder])
    try:
        parts = [
            make(str(path), train=is_training, download=False) for is_training in (True, False)
        ]
    except Exception as error:  # torchvision raises errors of many types for damaged files
        raise UsageError(f"cannot read {path / folder}: {error}", LAYOUT) from error
    return Data(Cifar(parts[0]), Cifar(parts[1]), list(parts[0].classes), folder)


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images as tensors, (3, H, W). Their random changes depend on the seed and the epoch alone."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor], *place: object) -> None:
        self._images = images
        self._transform = transform
        self._place = place

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return an image and the number of its class. Raises UsageError that names a bad image."""
        seeds.seed_all(*self._place, place)
        try:
            image = self._images.open(place)
        except Exception as error:
            raise UsageError(
                f"{self._images.name(place)} cannot be read as an image: {error}",
                "Remove or repair it, or add --skip-unreadable.",
            ) from error
        return self._transform(image), self._images.label(place)


def transform(recipe: Recipe, known: Preprocessing, *, is_training: bool) -> Any:
    """Return timm's transform: the random one of the recipe, or a centre crop."""
    from timm.data.transforms_factory import create_transform

    common: dict[str, Any] = {
        "input_size": (3, recipe.resolution, recipe.resolution),
        "interpolation": known.interpolation,
        "mean": tuple(known.mean),
        "std": tuple(known.std),
    }
    if not is_training:
        return create_transform(**common, crop_pct=recipe.crop_share)
    return create_transform(
        **common,
        is_training=True,
        scale=(recipe.least_crop, 1.0),
        hflip=recipe.flip,
        color_jitter=recipe.colour_jitter,
        auto_augment=recipe.rand_augment or None,
        re_prob=recipe.erase,
        re_mode="pixel",
    )


def batches(
    images: Augmented, places: Sequence[Sequence[int]], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images (N, 3, H, W) and classes (N) at these places, batch after batch."""
    loader = DataLoader(images, batch_sampler=places, num_workers=workers)  # type: ignore[arg-type, unused-ignore]
    yield from loader


def in_batches(places: Sequence[int], batch: int, *, drop_last: bool) -> list[list[int]]:
    """Cut a list of places into batches."""
    found = [list(places[i : i + batch]) for i in range(0, len(places), batch)]
    return found[:-1] if drop_last and found and len(found[-1]) < batch else found

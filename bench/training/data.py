"""Data of a training: folders of classes, a zip of such folders, or torchvision's CIFAR files."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.errors import UsageError, starting
from bench.harness.photos import ENDS
from bench.harness.worker.template import die_with_parent
from bench.models.preprocessing import Preprocessing
from bench.text import brief, some_of
from bench.training import seeds
from bench.training.recipe import RAND_AUGMENT, Recipe

MOST_DECODED = 50_000  # images that are decoded before a training begins
NAMED = 8  # images in a message
TRAINING, HELD_OUT = ("train",), ("val", "valid", "validation", "test")
CIFAR = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100"}
LAYOUT = (
    "A folder or zip has `train/CLASS/image.jpg` and `val/CLASS/image.jpg` (or test/); the CIFAR "
    "files of torchvision lie in cifar-100-python or cifar-10-batches-py."
)
ENDED = re.compile(r"DataLoader worker \(pid")
FEWER = "Use --workers 0, or give the container more shared memory (docker run --shm-size)."


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
        """Whether it can be decoded, or its beginning can where there are many."""

    def without(self, places: Sequence[int]) -> Images:
        """The same images without those at `places`."""


class Data(NamedTuple):
    """Images to train on, images that are held out, and the names of the classes.

    `ignored` counts files that are no images by their names, or of neither part.
    """

    training: Images
    held_out: Images
    classes: list[str]
    ignored: int = 0

    @property
    def digest(self) -> str:
        """A hash of the names of all images and their classes."""
        found = hashlib.sha256()
        for images in (self.training, self.held_out):
            for place in range(len(images)):
                found.update(
                    f"{images.name(place)} {images.label(place)}\n".encode(errors="surrogateescape")
                )
        return found.hexdigest()[:16]


class Files:
    """Images in files below a folder, or in a zip: pairs of a path and a class."""

    def __init__(self, root: Path, entries: Sequence[tuple[str, int]]) -> None:
        self._root = root
        self._entries = list(entries)
        self._zip: tuple[int, zipfile.ZipFile] | None = None  # of the process with this id

    def __len__(self) -> int:
        """The number of images."""
        return len(self._entries)

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: an open zip stays here."""
        return {**self.__dict__, "_zip": None}

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
        here = os.getpid()
        if self._zip is None or self._zip[0] != here:  # forked processes share no handle
            self._zip = here, zipfile.ZipFile(self._root)
        return io.BytesIO(self._zip[1].read(name))


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
    try:
        cifar = next((name for name in CIFAR if (path / name).is_dir()), None)
        if not path.exists():
            raise UsageError(f"there is no folder or zip {path}", LAYOUT)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", LAYOUT) from error
    if cifar:
        return _cifar(path, cifar)
    every = _names(path)
    names = [name for name in every if PurePosixPath(name).suffix.lower() in ENDS]
    training, held_out = (_part(names, kinds) for kinds in (TRAINING, HELD_OUT))
    classes = sorted(set(training.values()))
    if strangers := sorted(set(held_out.values()) - set(classes)):
        raise UsageError(
            f"{path} has held-out images of {some_of(strangers)}, and none to train on",
            "The folders of both parts must have the same names.",
        )
    number = {name: place for place, name in enumerate(classes)}
    parts = [
        Files(path, [(name, number[known]) for name, known in sorted(part.items())])
        for part in (training, held_out)
    ]
    found = Data(parts[0], parts[1], classes, len(every) - len(training) - len(held_out))
    _check(found, str(path))
    return found


def readable(data: Data, tell: Callable[[str], object], *, skips_unreadable: bool = False) -> Data:
    """Return the data without images that cannot be read, if those are to be skipped.

    Of more than MOST_DECODED images, only the beginning is read: the training names any other one.
    Raises UsageError that names them where they are not to be skipped, or where too little is left.
    """
    parts = []
    for images in (data.training, data.held_out):
        bad = [place for place in range(len(images)) if not images.is_readable(place)]
        if bad:
            names = some_of([images.name(place) for place in bad], NAMED)
            count = f"{len(bad)} of {len(images)} images cannot be read: {names}"
            if not skips_unreadable:
                raise UsageError(count, "Repair or remove them, or add --skip-unreadable.")
            tell(f"left out: {count}")
        parts.append(images.without(bad) if bad else images)
    found = data._replace(training=parts[0], held_out=parts[1])
    _check(found, "what is left")
    return found


def _check(data: Data, where: str) -> None:
    """Raise UsageError unless each class has images to train on, and some are held out."""
    count = len(data.training)
    known = {data.training.label(place) for place in range(count)} if data.classes else set()
    if not known:
        raise UsageError(f"{where} has no images to train on", LAYOUT)
    if len(known) == 1 and len(data.classes) == 1:
        raise UsageError(
            f"{where} has images of only one class to train on: {data.classes[0]}", LAYOUT
        )
    if lacking := [name for place, name in enumerate(data.classes) if place not in known]:
        raise UsageError(f"{where} has no image of {some_of(lacking)} to train on", LAYOUT)
    if not len(data.held_out):
        raise UsageError(f"{where} has no held-out images", LAYOUT)


def _names(path: Path) -> list[str]:
    """The paths of all files below `path`, relative to it, with /."""
    if path.is_dir():
        return [
            Path(folder, name).relative_to(path).as_posix()
            for folder, _, names in os.walk(path, followlinks=True, onerror=_refused)
            for name in names
        ]
    try:
        with zipfile.ZipFile(path) as opened:
            return [each.filename for each in opened.infolist() if not each.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no zip file: {error}", LAYOUT) from error


def _refused(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}", LAYOUT) from error


def _part(names: Sequence[str], kinds: Sequence[str]) -> dict[str, str]:
    """The images of a part with their classes: below the first folder of one of these names."""
    for kind in kinds:
        found = {}
        for name in names:
            folders = PurePosixPath(name).parts[:-1]
            if kind in folders[:-1]:
                found[name] = folders[folders.index(kind) + 1]
        if found:
            return found
    return {}


def _cifar(path: Path, folder: str) -> Data:
    from torchvision import datasets

    make = getattr(datasets, CIFAR[folder])
    try:
        parts = [
            make(str(path), train=is_training, download=False) for is_training in (True, False)
        ]
    except Exception as error:  # torchvision raises errors of many types for damaged files
        raise UsageError(
            f"{path / folder} lacks files of torchvision's {CIFAR[folder]}, or has damaged ones",
            LAYOUT,
        ) from error
    return Data(Cifar(parts[0]), Cifar(parts[1]), list(parts[0].classes))


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images as tensors, (3, H, W). Their random changes depend on `place` and the image alone."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor], *place: object) -> None:
        self._images = images
        self._transform = transform
        self._place = place

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return an image and the number of its class. Raises UsageError that names a bad image."""
        seeds.seed_image(*self._place, place)
        try:
            image = self._images.open(place)
        except Exception as error:
            skips = ", or add --skip-unreadable" if len(self) <= MOST_DECODED else ""
            raise UsageError(
                f"{self._images.name(place)} cannot be read as an image: {error}",
                f"Remove or repair it{skips}.",
            ) from error
        try:
            return self._transform(image), self._images.label(place)
        except ValueError as error:
            raise UsageError(
                f"{self._images.name(place)} cannot be augmented: {brief(error)}",
                f"Use another `rand_augment` in the recipe: {RAND_AUGMENT}",
            ) from error


def transform(recipe: Recipe, known: Preprocessing, *, is_training: bool) -> Any:
    """Return timm's transform: the random one of the recipe, or a centre crop.

    Raises UsageError for a `rand_augment` that timm does not know.
    """
    from timm.data.transforms_factory import create_transform

    common: dict[str, Any] = {
        "input_size": (3, recipe.resolution, recipe.resolution),
        "interpolation": known.interpolation,
        "mean": tuple(known.mean),
        "std": tuple(known.std),
    }
    if not is_training:
        return create_transform(**common, crop_pct=recipe.crop_share)
    try:
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
    except (AssertionError, KeyError, ValueError) as error:
        raise UsageError(
            f"timm has no augmentation {recipe.rand_augment!r}", f"For example: {RAND_AUGMENT}"
        ) from error


def batches(
    images: Augmented, places: Sequence[Sequence[int]], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images (N, 3, H, W) and classes (N) at these places, batch after batch.

    Raises UsageError that names an image which cannot be read, also where a worker has met it, and
    where the workers cannot be started or have ended (see `ended_worker`).
    """
    loader: Any = DataLoader(
        images,
        batch_sampler=places,  # type: ignore[arg-type, unused-ignore]
        num_workers=workers,
        worker_init_fn=functools.partial(_begin_worker, os.getpid()),
    )
    with starting("a process that reads images"):
        ready = iter(loader)
    count = 0
    try:
        for batch in ready:
            yield batch
            count += 1
    except UsageError as error:
        for place in places[count]:
            images[place]  # raises the error as it is, without the worker's traceback
        raise UsageError(str(error).rstrip().rpartition("\n")[2]) from error
    except RuntimeError as error:
        if explained := ended_worker(error):
            raise explained from error
        raise


def ended_worker(error: Exception) -> UsageError | None:
    """Return an error for the user if `error` says that a worker has ended; else None."""
    if not ENDED.search(str(error)):
        return None
    return UsageError(f"a process that reads images has ended: {brief(error)}", FEWER)


def _begin_worker(trainer: int, _: int) -> None:
    """Leave signals of the terminal to the training, and end with it, also where it is killed."""
    os.setpgrp()
    has_server = sys.version_info >= (3, 14)  # which forks the workers, and ends with the training
    die_with_parent(os.getppid() if has_server else trainer)


def in_batches(places: Sequence[int], batch: int, *, drop_last: bool) -> list[list[int]]:
    """Cut a list of places into batches."""
    found = [list(places[i : i + batch]) for i in range(0, len(places), batch)]
    return found[:-1] if drop_last and found and len(found[-1]) < batch else found

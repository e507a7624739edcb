"""Images with classes: in folders, in a zip of such folders, or in torchvision's CIFAR files.

Importing this file imports no torch.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from bench.errors import UsageError
from bench.harness.photos import ENDS
from bench.text import some_of

MOST_DECODED = 50_000  # images that are decoded before a training begins
NAMED = 8  # images in a message
MOST_WORKERS = 256  # processes that read images
TRAINING, HELD_OUT = ("train",), ("val", "valid", "validation", "test")
CIFAR = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100"}
LAYOUT = (
    "A folder or zip has `train/CLASS/image.jpg` and `val/CLASS/image.jpg` (or test/); the CIFAR "
    "files of torchvision lie in cifar-100-python or cifar-10-batches-py. `CLASS/image.jpg` alone "
    "is enough for bench eval."
)


class Images(Protocol):
    """A set of images with their classes."""

    def __len__(self) -> int:
        """The number of images."""

    def name(self, place: int) -> str:
        """What an image is called in messages."""

    def label(self, place: int) -> int:
        """The number of its class."""

    def size(self, place: int) -> int:
        """A number that changes with its content: the bytes of its file, or a check sum."""

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
        return digest_of(self.training, self.held_out)


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

    def size(self, place: int) -> int:
        """The bytes of its file, in the folder or in the zip."""
        if self._root.is_dir():
            return (self._root / self.name(place)).stat().st_size
        return self._opened_zip.getinfo(self.name(place)).file_size

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
        return io.BytesIO(self._opened_zip.read(name))

    @property
    def _opened_zip(self) -> zipfile.ZipFile:
        here = os.getpid()
        if self._zip is None or self._zip[0] != here:  # forked processes share no handle
            self._zip = here, zipfile.ZipFile(self._root)
        return self._zip[1]


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

    def size(self, place: int) -> int:
        """A check sum of its pixels."""
        return zlib.crc32(self._images.data[place].tobytes())

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


def digest_of(*several: Images) -> str:
    """Return 16 hex digits that depend on names, classes and sizes of the images."""
    found = hashlib.sha256()
    for images in several:
        for place in range(len(images)):
            line = f"{images.name(place)} {images.label(place)} {images.size(place)}\n"
            found.update(line.encode(errors="surrogateescape"))
    return found.hexdigest()[:16]


def find(path: Path, *, trains: bool = True) -> Data:
    """Return the data at `path`. Raises UsageError where there is none, or only one class.

    Without `trains`, no image to train on is needed.
    """
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
    if not (trains or training or held_out):
        held_out = _classes(names)
    classes = sorted(set((training if trains else training or held_out).values()))
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
    _check(found, str(path), trains=trains)
    return found


def readable(
    data: Data,
    tell: Callable[[str], object],
    *,
    skips_unreadable: bool = False,
    trains: bool = True,
) -> Data:
    """Return the data without images that cannot be read, if those are to be skipped.

    Of more than MOST_DECODED images, only the beginning is read: the training names any other one.
    Without `trains`, images to train on are not looked at. Raises UsageError that names them where
    they are not to be skipped, or where too little is left.
    """
    parts = [] if trains else [data.training]
    for images in (data.training, data.held_out)[len(parts) :]:
        bad = [place for place in range(len(images)) if not images.is_readable(place)]
        if bad:
            names = some_of([images.name(place) for place in bad], NAMED)
            count = f"{len(bad)} of {len(images)} images cannot be read: {names}"
            if not skips_unreadable:
                raise UsageError(count, "Repair or remove them, or add --skip-unreadable.")
            tell(f"left out: {count}")
        parts.append(images.without(bad) if bad else images)
    found = data._replace(training=parts[0], held_out=parts[1])
    _check(found, "what is left", trains=trains)
    return found


def _check(data: Data, where: str, *, trains: bool) -> None:
    """Raise UsageError unless images are held out, and with `trains`, each class is trained on."""
    if not trains:
        if not len(data.held_out):
            raise UsageError(f"{where} has no images to classify", LAYOUT)
        if len(data.classes) == 1:
            raise UsageError(f"{where} has images of only one class: {data.classes[0]}", LAYOUT)
        return
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


def _classes(names: Sequence[str]) -> dict[str, str]:
    """The images with their classes: the first folders that are not those of all images.

    Images in no folder, and in hidden folders, have no class.
    """
    folders = {name: PurePosixPath(name).parent for name in names}
    folders = {name: own for name, own in folders.items() if own.parts and not _is_hidden(own)}
    common = len(PurePosixPath(os.path.commonpath(folders.values())).parts) if folders else 0
    return {name: own.parts[min(common, len(own.parts) - 1)] for name, own in folders.items()}


def _is_hidden(folder: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in folder.parts)


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

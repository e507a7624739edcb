"""Batches of images: decoded and changed by a transform, in processes of their own if need be."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.errors import UsageError, starting
from bench.harness.images.sets import MOST_DECODED, Images
from bench.harness.worker.template import die_with_parent
from bench.models.preprocessing import Preprocessing
from bench.text import brief

ENDED = re.compile(r"DataLoader worker \(pid")
FEWER = "Use --workers 0, or give the container more shared memory (docker run --shm-size)."


class Decoded(Dataset[tuple[Tensor, int]]):
    """Images as tensors (C, H, W), with the numbers of their classes."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor]) -> None:
        self._images = images
        self._transform = transform

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return an image and the number of its class. Raises UsageError that names a bad image."""
        return self._transform(self._opened(place)), self._images.label(place)

    def _opened(self, place: int) -> Any:
        try:
            return self._images.open(place)
        except Exception as error:
            skips = ", or add --skip-unreadable" if len(self) <= MOST_DECODED else ""
            raise UsageError(
                f"{self._images.name(place)} cannot be read as an image: {error}",
                f"Remove or repair it{skips}.",
            ) from error


def centre_crop(known: Preprocessing, shape: Sequence[int]) -> Any:
    """Return timm's transform of an image in RGB to the input (C, H, W) of a network.

    x = (pixel - mean) / std, after resizing and a crop at the centre, by the network's settings.
    """
    from timm.data.transforms_factory import create_transform

    channels, height, width = shape
    return create_transform(
        input_size=(channels, height, width),
        interpolation=known.interpolation,
        mean=tuple(known.mean),
        std=tuple(known.std),
        crop_pct=known.crop_share,
    )


def batches(
    images: Decoded, places: Sequence[Sequence[int]], workers: int
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


def _begin_worker(parent: int, _: int) -> None:
    """Leave signals of the terminal to the parent, and end with it, also where it is killed."""
    os.setpgrp()
    has_server = sys.version_info >= (3, 14)  # which forks the workers, and ends with its parent
    die_with_parent(os.getppid() if has_server else parent)


def in_batches(places: Sequence[int], batch: int, *, drop_last: bool) -> list[list[int]]:
    """Cut a list of places into batches."""
    found = [list(places[i : i + batch]) for i in range(0, len(places), batch)]
    return found[:-1] if drop_last and found and len(found[-1]) < batch else found

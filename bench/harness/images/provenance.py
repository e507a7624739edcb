"""What weights of `bench train` were trained with, in a file beside them.

Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import UsageError

NAME = "training.json"


class Provenance(msgspec.Struct, frozen=True):
    """The form and the classes of a training, and how held-out images became inputs.

    Images were resized to `resolution` / `crop_share` pixels, then cropped at their centre.
    """

    form: str
    classes: list[str]
    resolution: int
    crop_share: float


def of(weights: Path) -> Provenance | None:
    """Return the provenance of a file of weights; None where nothing is known.

    Raises UsageError for a damaged file.
    """
    path = weights.parent / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance)
    except OSError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not what bench train writes: {error}", "Remove it, or move the weights."
        ) from error


def names(classes: Sequence[str]) -> list[str]:
    """Return the names of classes as JSON can have them: names of folders may be any bytes."""
    return [name.encode(errors="surrogateescape").decode(errors="replace") for name in classes]

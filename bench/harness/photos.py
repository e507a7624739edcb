"""Images of the user in a folder: which of them count. Importing this imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from bench.errors import UsageError

ENDS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
MOST, FEWEST = 256, 16
MORE = "Give a folder of photographs as the network sees them, in any folders below it."


def images_in(folder: Path) -> list[Path]:
    """Return the images below `folder`, at most MOST of them, in the order of their paths.

    Where there are more, they are taken at equal steps, so that folders of classes count alike.
    Raises UsageError where there is no such folder, or too few images.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", MORE)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDS)
    chosen = [found[i * len(found) // MOST] for i in range(MOST)] if len(found) > MOST else found
    if len(chosen) < FEWEST:
        raise UsageError(
            f"{folder} has {len(chosen)} images, and {FEWEST} at least are needed", MORE
        )
    return chosen


def digest_of(folder: Path, paths: Iterable[Path]) -> str:
    """Return 16 hex digits that depend on the names and sizes of the images."""
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def check_readable(paths: Iterable[Path]) -> None:
    """Raise UsageError for a file that is no image, as far as its beginning shows."""
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                image.verify()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise UsageError(f"{path} cannot be read as an image", "Remove or repair it.") from None

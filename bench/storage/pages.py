"""Writing pages atomically: readers see a whole page or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from bench.errors import UsageError
from bench.storage.files import open_to_write


def write_pages(folder: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Write `pages`, by file name, into `folder`; returns their paths.

    Several processes may write the same page at once: each writes a partial file of its own, and
    the last one to finish replaces the page.

    Raises UsageError if the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pages.items():
            partial = folder / f".{name}.{secrets.token_hex(4)}.partial"
            try:
                with open_to_write(partial) as file:
                    file.write(content)
                os.replace(partial, folder / name)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", "Choose another folder."
        ) from error
    return [folder / name for name in pages]

"""Writing pages so that each appears whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import UsageError
from bench.storage.files import created

OURS = re.compile(
    r"(table[2-6]|results|profile|claims|figure[15]|roofline|speedups|distributions(-\d+)?)"
    r"\.(md|csv|tex|png|svg)|report\.(md|html)"
)


def write_pages(folder: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Write files by name into `folder`; returns their paths. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pages.items():
            partial = folder / f".{name}.partial"
            try:
                with created(partial) as file:
                    file.write(content)
                os.replace(partial, folder / name)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", "Choose another folder."
        ) from error
    return [folder / name for name in pages]


def left_over(written: Iterable[Path]) -> list[Path]:
    """Files beside those `written` that look like the report's and are of an earlier one."""
    new = set(written)
    folders = sorted({path.parent for path in new})
    beside = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in beside if OURS.fullmatch(path.name) and path not in new]

"""Read small files of the kernel (sysfs, procfs, debugfs).

Functions raise UnreadableError; its text becomes the reason of a missing value.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MAX_READ_BYTES = 2**20
LARGEST_NUMBER = 10**12


class UnreadableError(Exception):
    """A value cannot be read. The text has the file, and the error in its content."""


def number_in(path: Path, low: int, high: int = LARGEST_NUMBER) -> int:
    """Return the integer in a file. Raises UnreadableError unless low <= integer <= high."""
    text = text_of(path)
    try:
        value = int(text)
    except ValueError:
        raise UnreadableError(f"no number in {path}: {text[:40]!r}") from None
    if not low <= value <= high:
        raise UnreadableError(f"nonsense in {path}: {value}")
    return value


def text_of(path: Path) -> str:
    """Return the text of a file, without NULs and white space at both ends.

    Raises UnreadableError if the file cannot be read or is empty. It uses os.read: the thermal
    zone of a sleeping GPU returns EAGAIN, for which Python's file objects raise a TypeError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(file, MAX_READ_BYTES).decode(errors="replace").strip(" \n\t\0")
        finally:
            os.close(file)
    except FileNotFoundError:
        raise UnreadableError(f"no {path}") from None
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    if not text:
        raise UnreadableError(f"{path} is empty")
    return text


def text_or_none(path: Path) -> str | None:
    """Return the text of a file; None if it cannot be read."""
    try:
        return text_of(path)
    except UnreadableError:
        return None


def match_in(pattern: re.Pattern[str], path: Path) -> re.Match[str]:
    """Return the first match in a file. Raises UnreadableError if there is none."""
    found = pattern.search(text_of(path))
    if not found:
        raise UnreadableError(f"no {pattern.pattern!r} in {path}")
    return found


def first_existing(paths: list[Path]) -> Path:
    """Return the first path that exists. Raises UnreadableError if none exists."""
    for path in paths:
        if os.path.exists(path):  # False without permission for a folder
            return path
    raise UnreadableError(f"no readable {' nor '.join(map(str, paths))}")


def entries(folder: Path) -> list[Path]:
    """Return the sorted entries of a folder; an empty list if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []

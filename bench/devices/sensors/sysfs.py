"""Small files of the kernel (sysfs, procfs, debugfs): their text, or the reason why there is none.

Each function raises UnreadableError, whose text becomes the reason of a missing value.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

READ_AT_MOST = 2**20  # bytes
LARGEST_NUMBER = 10**12


class UnreadableError(Exception):
    """A value could not be read. The text names the file, and what is wrong with its content."""


def number_in(path: Path, low: int, high: int = LARGEST_NUMBER) -> int:
    """The integer in a file. Raises UnreadableError unless low <= integer <= high."""
    text = text_of(path)
    try:
        value = int(text)
    except ValueError:
        raise UnreadableError(f"no number in {path}: {text[:40]!r}") from None
    if not low <= value <= high:
        raise UnreadableError(f"nonsense in {path}: {value}")
    return value


def text_of(path: Path) -> str:
    """The text of a file, without NULs and white space at its ends; never empty.

    It uses os.read and not Python's file objects: the thermal zone of a sleeping GPU answers
    EAGAIN, which file objects turn into a TypeError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(file, READ_AT_MOST).decode(errors="replace").strip(" \n\t\0")
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
    """The text of a file; None where it cannot be read."""
    try:
        return text_of(path)
    except UnreadableError:
        return None


def match_in(pattern: re.Pattern[str], path: Path) -> re.Match[str]:
    """The first match of the pattern in a file. Raises UnreadableError where there is none."""
    found = pattern.search(text_of(path))
    if not found:
        raise UnreadableError(f"no {pattern.pattern!r} in {path}")
    return found


def first_existing(paths: list[Path]) -> Path:
    """The first path that exists. Raises UnreadableError where none does."""
    for path in paths:
        if os.path.exists(path):  # False, and no error, where a folder may not be searched
            return path
    raise UnreadableError(f"no readable {' nor '.join(map(str, paths))}")


def entries(folder: Path) -> list[Path]:
    """The sorted entries of a folder; an empty list where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []

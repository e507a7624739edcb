"""What comes from outside: files that need not be files, text that need not be fit to print."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def opened(path: Path) -> IO[bytes]:
    """Open a regular file to read it. Raises OSError, for a pipe or a device too: no end, no file.

    Neither is waited for, as an ordinary open of a named pipe would.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have that name") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(number, "rb")


def is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is the one at `path`: not removed, nor replaced. Raises OSError."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        return False


def created(path: Path, more: int = os.O_TRUNC) -> IO[bytes]:
    """Open a file to write it; with `more` os.O_APPEND at its end.

    Raises OSError.
    """
    return os.fdopen(made(path, os.O_WRONLY | more), "wb")


def made(path: Path, flags: int) -> int:
    """Open a file, which is made if need be, and is the one of that name: links are not followed.

    In a folder of a stranger's one may lead anywhere. Raises OSError; a pipe is not waited for.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a link, which may lead out of the folder") from None
        raise


def read(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes. Raises OSError."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content

"""Opening files in folders of unknown origin: pipes, devices and links are refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file to read it.

    Raises OSError, also for a pipe or a device. O_NONBLOCK keeps the open of a pipe from blocking.
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
    """Whether `path` still names the open `file`; False if it was removed or replaced.

    Raises OSError if the path cannot be examined.
    """
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        return False


def open_to_write(path: Path, mode: int = os.O_TRUNC) -> IO[bytes]:
    """Open a file to write it: truncated, or with os.O_APPEND as `mode` at its end.

    Creates the file if it does not exist and follows no link. Raises OSError.
    """
    return os.fdopen(open_or_create(path, os.O_WRONLY | mode), "wb")


def open_or_create(path: Path, flags: int) -> int:
    """Open the file at `path`, or create it; returns the file descriptor.

    A link is not followed, because it may lead out of the folder. Raises OSError; the open of a
    pipe does not block.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a link, which may lead out of the folder") from None
        raise


def read(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError if it is larger.

    It uses os.read: the thermal zone of a sleeping part of a Jetson returns EAGAIN, for which
    Python's file objects return None.
    """
    content = b""
    with open_regular(path) as file:
        while part := os.read(file.fileno(), most + 1 - len(content)):
            content += part
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content

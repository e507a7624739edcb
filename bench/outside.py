"""What comes from outside: files that need not be files, text that need not be fit to print."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

ENDS_SHOWN = 1000  # letters of a long text, of its beginning and of its end


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


def read(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes. Raises OSError."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content


def printable(text: str) -> str:
    """`text` as one line of bounded length, without anything that a terminal would obey."""
    is_long = len(text) > 2 * ENDS_SHOWN
    shown = f"{text[:ENDS_SHOWN]}…{text[-ENDS_SHOWN:]}" if is_long else text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in shown
    )

"""How many children may live at once, as the memory and the limit on open files allow."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

RESERVED_FILES = 48  # for the store, the terminal, the template and libraries
RESERVED_BYTES = 2**29  # for the parent, the template and other programs
FILES_PER_CHILD = 2  # the channel and the output pipe


def most_by_files() -> int:
    """Return max(1, (limit on open files - RESERVED_FILES) // FILES_PER_CHILD).

    Without a limit on open files, return `sys.maxsize`.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (soft - RESERVED_FILES) // FILES_PER_CHILD)


def has_room(free_bytes: int | None, peaks: Sequence[int | None]) -> bool:
    """Whether one more child fits into memory. `peaks` are the peak bytes of the living children.

    The rule is free_bytes - RESERVED_BYTES > 2 * max(peaks). The next child may need as much as
    the largest living one, and one living child at a time may allocate its peak again. The first
    child always has room. Without a reading of free memory, every child has room.
    """
    if not peaks or free_bytes is None:
        return True
    return free_bytes - RESERVED_BYTES > 2 * max(peak or 0 for peak in peaks)

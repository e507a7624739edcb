"""How many children may live at once: what memory and open files allow."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

KEPT_FREE_FILES = 48  # for the store, the terminal, the template and what a library opens
KEPT_FREE_BYTES = 2**29  # for the parent, the template and other programs
FILES_PER_CHILD = 2  # its channel and its output pipe


def most_children() -> int:
    """As many as the limit on open files of this process allows, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (soft - KEPT_FREE_FILES) // FILES_PER_CHILD)


def has_room(free_bytes: int | None, peaks: Sequence[int | None]) -> bool:
    """Whether memory holds another child next to those with these `peaks` (bytes).

    free_bytes - KEPT_FREE_BYTES > 2 * max(peaks): the next child may need as much as the largest,
    and one of them at a time allocates again. The first child always has room, and so has every
    child where free memory is not known.
    """
    if not peaks or free_bytes is None:
        return True
    return free_bytes - KEPT_FREE_BYTES > 2 * max(peak or 0 for peak in peaks)

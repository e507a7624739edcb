"""Huge pages of a process, by the name for `--huge-pages`: pages of 2 MiB instead of 4 KiB.

The kernel gives them where its mode is `always`, or where the mode is `madvise` and the process
asks for them. A page fault then maps 512 times as much memory.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.records import DEFAULT
from bench.text import MIB

MODES = Path("sys/kernel/mm/transparent_hugepage/enabled")
MAPPINGS = Path("/proc/self/smaps")
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42
TUNABLES = "GLIBC_TUNABLES"
ASKING = "glibc.malloc.hugetlb=1"  # from glibc 2.35 on; earlier ones ignore it
OF_TORCH = "THP_MEM_ALLOC_ENABLE"  # torch asks for huge pages for each large tensor
PROBED = 32 * MIB  # bytes
DENIED, UNREAD = "denied", "unreadable"


class HugePages(NamedTuple):
    """`asks`: malloc and torch ask the kernel for huge pages. `disables`: it must not give any."""

    about: str
    label: str = ""
    asks: bool = False
    disables: bool = False


HUGE_PAGES = {
    DEFAULT: HugePages("what the kernel gives to a process that asks for nothing"),
    "madvise": HugePages("malloc and torch ask the kernel for huge pages", "huge pages", asks=True),
    "never": HugePages("the kernel gives none to the process", "no huge pages", disables=True),
}
KNOWN_AS = {
    **dict.fromkeys(["on", "yes", "true", "always", "thp", "2m"], "That is `madvise`."),
    **dict.fromkeys(["off", "no", "false", "none"], "That is `never`."),
}


class HugePagesError(Exception):
    """The process cannot be told to have no huge pages."""


def label(name: str) -> str:
    """Return what tables call the setting; "" for the default, and for an unknown name itself."""
    return HUGE_PAGES[name].label if name in HUGE_PAGES else name


def missing(name: str, root: Path = Path("/")) -> tuple[str, str] | None:
    """Return what this machine lacks for the setting, and the remedy; None if nothing."""
    if not HUGE_PAGES[name].asks or mode(root) in ("always", "madvise"):
        return None
    if sys.platform != "linux" or mode(root) is None:
        return "this kernel has no transparent huge pages", ""
    return "the kernel gives no huge pages", f"Allow them: echo madvise | sudo tee /{MODES}"


def mode(root: Path = Path("/")) -> str | None:
    """Return the mode of the kernel: `always`, `madvise` or `never`; None if it has none."""
    try:
        chosen = re.search(r"\[(\w+)\]", (root / MODES).read_text())
    except OSError:
        return None
    return chosen[1] if chosen else None


def variables(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of a process that is to start with the setting; {} if it needs none."""
    if not HUGE_PAGES[name].asks:
        return {}
    tunables = [each for each in environ.get(TUNABLES, "").split(":") if each]
    return {OF_TORCH: "1", TUNABLES: ":".join([*tunables, ASKING])}


def apply(name: str) -> None:
    """Set up the setting in this process. Raises HugePagesError if the kernel refuses."""
    if HUGE_PAGES[name].disables and not _disable():
        raise HugePagesError("the kernel refused to disable huge pages for the process")


def found(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return which setting this process has, by filling a tensor; None if it cannot be read.

    DENIED: the process asks for huge pages, and gets none. UNREAD: it asks, but the kernel does not
    tell whether it gets any.
    """
    if mode() is None:
        return DEFAULT
    if _is_disabled():
        return "never"
    share = _share_of_a_tensor()
    asks = environ.get(OF_TORCH) == "1" or ASKING in environ.get(TUNABLES, "")
    if share is None:
        return UNREAD if asks else None
    if share < 0.5:
        return DENIED if asks else DEFAULT
    return DEFAULT if mode() == "always" and not asks else "madvise"


def _share_of_a_tensor() -> float | None:
    """Return the share of a new tensor of PROBED bytes that lies on huge pages."""
    import torch

    tensor = torch.empty(PROBED, dtype=torch.uint8).fill_(1)
    return _share_at(tensor.data_ptr() + PROBED // 2)


def _share_at(address: int, mappings: Path = MAPPINGS) -> float | None:
    """Return the share of the mapping at `address` that lies on huge pages, by the kernel."""
    sizes: dict[str, int] = {}
    is_there = False
    try:
        with mappings.open() as lines:
            for line in lines:
                if ends := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                    if is_there:
                        break
                    is_there = int(ends[1], 16) <= address < int(ends[2], 16)
                elif is_there and (size := re.match(r"(\w+):\s+(\d+) kB", line)):
                    sizes[size[1]] = int(size[2])
    except OSError:
        return None
    return sizes["AnonHugePages"] / sizes["Rss"] if {"AnonHugePages", "Rss"} <= {*sizes} else None


def _disable() -> bool:
    return sys.platform == "linux" and _prctl(PR_SET_THP_DISABLE, 1) == 0


def _is_disabled() -> bool:
    return sys.platform == "linux" and _prctl(PR_GET_THP_DISABLE, 0) == 1


def _prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))

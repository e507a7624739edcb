"""The table of allocators, by the name for `--allocator`: where a process gets its memory from.

A network on a CPU allocates and frees its activations in each call. glibc gives large blocks back
to the system, so the next call causes a page fault for each page of them. An allocator that keeps
them has no such faults.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.devices import malloc
from bench.devices.malloc import M_MMAP_MAX, M_TOP_PAD, M_TRIM_THRESHOLD, Thresholds
from bench.records import DEFAULT
from bench.text import MIB

PRELOAD = "LD_PRELOAD"
FOLDERS = ("/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/lib/*-linux-gnu")
OTHER = "glibc with other thresholds"


class Allocator(NamedTuple):
    """An allocator. `library` matches the file name of the library to preload; "" without one.

    `package` has the library on Debian and Ubuntu. `options` are for mallopt, in the child.
    `thresholds` are those of glibc's malloc; None for a library.
    """

    about: str
    library: str = ""
    package: str = ""
    options: tuple[tuple[int, int], ...] = ()
    thresholds: Thresholds | None = None


ALLOCATORS = {
    DEFAULT: Allocator(
        "malloc of the C library, as PyTorch uses it",
        thresholds=Thresholds(maps_large=True, adapts=True, trims=True),
    ),
    "arena": Allocator(
        "glibc keeps memory that was freed: no block is mapped for itself, no heap trimmed",
        options=((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 * MIB)),
        thresholds=Thresholds(maps_large=False, adapts=True, trims=False),
    ),
    "jemalloc": Allocator("preloaded into the process", r"libjemalloc\.so.*", "libjemalloc2"),
    "tcmalloc": Allocator(
        "gperftools, preloaded into the process",
        r"libtcmalloc(_minimal)?\.so.*",
        "libtcmalloc-minimal4",
    ),
}
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["glibc", "malloc", "ptmalloc", "system"], "That is `default`."),
    **dict.fromkeys(["gperftools"], "That is `tcmalloc`."),
    **dict.fromkeys(["mimalloc", "hoard", "snmalloc"], "`bench list allocators` lists them."),
}


class AllocatorError(Exception):
    """The process has another allocator than its case."""


def missing(name: str) -> tuple[str, str] | None:
    """Return what this machine lacks for the allocator, and the remedy; None if nothing."""
    allocator = ALLOCATORS[name]
    if allocator.library:
        if _path(allocator.library):
            return None
        return "its library is not installed", f"Install it: sudo apt install {allocator.package}"
    if allocator.options and not malloc.is_glibc():
        return "it is a mode of glibc, which this system does not use", ""
    return None


def variables(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of a process that is to start with the allocator; {} if it needs none.

    Its library comes before the libraries that are preloaded anyway.
    """
    path = _path(ALLOCATORS[name].library)
    if path is None:
        return {}
    others = [each for each in re.split("[ :]", environ.get(PRELOAD, "")) if each]
    return {PRELOAD: ":".join([path, *others])}


def found() -> str | None:
    """Return which allocator this process has, by its name or its library; None if not known.

    This raises the thresholds of glibc's malloc: call it after the measurement.
    """
    if library := malloc.provider():
        return _named(library) or library
    seen = malloc.thresholds()
    if seen is None:
        return None
    for name, each in ALLOCATORS.items():
        if each.thresholds and each.thresholds.fits(seen):
            return name
    return OTHER


def apply(name: str) -> None:
    """Set up the allocator in this process. Raises AllocatorError where that is not possible."""
    library = malloc.provider()
    wanted = ALLOCATORS[name]
    if bool(library) != bool(wanted.library) or (library and _named(library) != name):
        raise AllocatorError(
            f"the allocator of the process is {library or 'that of the C library'}, not {name}"
        )
    for option, value in wanted.options:
        if not malloc.set_option(option, value):
            raise AllocatorError(f"glibc refused option {option} of mallopt, for {name}")


def brought(name: str) -> tuple[str, str] | None:
    """Return what the shell brings instead of the allocator `name`, and the remedy; else None.

    A process that is started now, as this one was, would have it: a preloaded library, or
    thresholds of glibc.
    """
    wanted = ALLOCATORS[name]
    if wanted.library:
        return None  # the library of the case is preloaded before those of the shell
    if library := malloc.provider():
        known = _named(library)
        instead = f", or measure with --allocator {known}" if known else ""
        return f"{library} replaces malloc", f"Unset {PRELOAD}{instead}."
    here = None if wanted.options else found()
    if here in (None, name):
        return None
    return (
        "the thresholds of glibc's malloc are set",
        "Unset MALLOC_* and GLIBC_TUNABLES (`env | grep -E 'MALLOC|GLIBC'`), or measure with "
        "--allocator arena.",
    )


def _named(library: str) -> str | None:
    """Return the name of the allocator that a file name belongs to; None for an unknown one."""
    for name, each in ALLOCATORS.items():
        if each.library and re.fullmatch(each.library, library):
            return name
    return None


def _path(library: str) -> str | None:
    """Return the path of the library; None if it is not installed, or "" names none."""
    if not library:
        return None
    folders = [str(Path(sys.prefix) / "lib"), *FOLDERS]
    for pattern in folders:
        for folder in sorted(glob.glob(pattern)):
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            if fitting := sorted(name for name in names if re.fullmatch(library, name)):
                return os.path.join(folder, fitting[0])
    return None

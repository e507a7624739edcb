"""Whose malloc this process calls, and when glibc's malloc gives memory back to the system.

Both are found out by trying, since no function of glibc tells them, and since a variable of the
shell, the code of a network or another library may have set them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from bench.text import MIB

# Options of mallopt, of malloc.h.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4

LARGE, MEDIUM = 48 * MIB, 24 * MIB  # bytes, above and below 32 MiB, glibc's largest threshold
BLOCKS = 16
_OF_C_LIBRARY = re.compile(r"(libc|ld-musl|libc\.musl)[.-].*")


class Thresholds(NamedTuple):
    """How malloc treats large blocks.

    `maps_large`: the system maps a block of at least LARGE bytes for itself, unless free memory of
    the heap can hold it, and unmaps it when it is freed.
    `adapts`: a freed block of MEDIUM bytes raises the threshold, so the next one is not mapped.
    `trims`: malloc gives the free end of its heap back to the system; None if this is not known.
    """

    maps_large: bool
    adapts: bool
    trims: bool | None

    def fits(self, other: Thresholds) -> bool:
        """Whether both are the same, as far as they are known."""
        pairs = zip(self, other, strict=True)
        return all(mine == theirs for mine, theirs in pairs if None not in (mine, theirs))


class _Symbol(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


class _Loaded(ctypes.Structure):
    """The beginning of struct link_map of link.h."""


_Loaded._fields_ = [
    ("base", ctypes.c_void_p),
    ("file", ctypes.c_char_p),
    ("dynamic", ctypes.c_void_p),
    ("next", ctypes.POINTER(_Loaded)),
]
RTLD_DI_LINKMAP = 2  # of dlfcn.h


class _Usage(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    """Return the functions of this process, as the dynamic linker finds them."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    return library


def provider() -> str:
    """Return the file name of the library whose malloc this process calls: `libjemalloc.so.2`.

    "" for the C library, and where it cannot be found out. The first library that defines malloc is
    the one that is called. Its address in this process does not tell: a program that is not
    position-independent, such as Debian's Python, has an address of its own for it.
    """
    if sys.platform != "linux":
        return ""
    with contextlib.suppress(AttributeError):  # a C library without these functions
        for file in _loaded_files():
            if _defines_malloc(file):
                name = os.fsdecode(file).rpartition("/")[2]
                return "" if _OF_C_LIBRARY.fullmatch(name) else name
    return ""


def _loaded_files() -> list[bytes]:
    """The files of the libraries of this process, in the order in which symbols are looked up.

    It does not use `dl_iterate_phdr`, which holds the lock of the linker while it calls Python: in
    another thread that imports an extension, Python waits for that lock, and both wait for ever.
    """
    found: list[bytes] = []
    dlinfo, loaded = _library().dlinfo, ctypes.POINTER(_Loaded)()
    dlinfo.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    if dlinfo(_library()._handle, RTLD_DI_LINKMAP, ctypes.byref(loaded)):
        return []
    while loaded:
        found.append(loaded.contents.file or b"")
        loaded = loaded.contents.next
    return [file for file in found if file]  # the program itself has no name here


def _defines_malloc(file: bytes) -> bool:
    symbol, dladdr = _Symbol(), _library().dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    try:
        loaded = ctypes.CDLL(os.fsdecode(file), os.RTLD_NOLOAD)
        address = ctypes.cast(loaded.malloc, ctypes.c_void_p)  # of a library that it needs, too
    except (OSError, AttributeError):  # no file, as of the kernel's vDSO; no malloc
        return False
    return bool(dladdr(address, ctypes.byref(symbol))) and symbol.file == file


def set_option(option: int, value: int) -> bool:
    """Set an option of glibc's malloc in this process; return whether it was accepted."""
    mallopt = getattr(_library(), "mallopt", None)
    return mallopt is not None and bool(mallopt(option, value))


def is_glibc() -> bool:
    """Whether the C library of this process is glibc."""
    return sys.platform == "linux" and hasattr(_library(), "gnu_get_libc_version")


def thresholds() -> Thresholds | None:
    """Try out how glibc's malloc treats large blocks; None for another malloc, or without memory.

    The blocks are not touched, so they need no memory. Trying raises an adaptive threshold: call
    this after the measurement.
    """
    if not is_glibc() or provider() or not hasattr(_library(), "mallinfo2"):
        return None
    with contextlib.suppress(MemoryError):
        with _blocks(_usage().fordblks + LARGE, 1) as mapped:  # no free memory can hold it
            maps_large = mapped[0]
        for _ in range(2):
            with _blocks(MEDIUM, 1) as mapped:
                adapts = not mapped[0]
        before = _usage().arena
        with _blocks(MEDIUM, BLOCKS):
            grown = _usage().arena - before
        left = _usage().arena - before
        trims = left < grown / 2 if grown > BLOCKS * MEDIUM / 2 else None
        return Thresholds(maps_large, adapts, trims)
    return None


@contextlib.contextmanager
def _blocks(size: int, count: int) -> Iterator[list[bool]]:
    """Allocate blocks; yield for each whether the system mapped it for itself; then free them.

    Raises MemoryError.
    """
    library = _library()
    addresses: list[int] = []
    mapped: list[bool] = []
    try:
        for _ in range(count):
            before = _usage().hblks
            address = library.malloc(size)
            if address is None:
                raise MemoryError
            addresses.append(address)
            mapped.append(_usage().hblks > before)
        yield mapped
    finally:
        for address in reversed(addresses):
            library.free(address)


def _usage() -> _Usage:
    read = _library().mallinfo2
    read.restype = _Usage
    found: _Usage = read()
    return found

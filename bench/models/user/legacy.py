"""Sizes in a checkpoint of torch before 1.6: some pickles, then the numbers of each storage.

torch reads such a file whole, so the sizes are known before. Reading them runs no code: everything
in the pickles but containers is replaced by a stand-in.
"""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of such a file
HEADERS = 3  # the pickles before the content: MAGIC, the version of the format, the system
ITEM_BYTES = {
    "ComplexDouble": 16,
    **dict.fromkeys(("ComplexFloat", "Double", "Long"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
}


class Content(NamedTuple):
    """The content of a file with stand-ins for tensors, and the bytes of each of its storages."""

    content: object
    storages: dict[Any, int]

    def bytes_of(self, part: object) -> int:
        """Return the bytes of the storages of a part of the content."""
        return sum(self.storages[key] for key in _keys(part))


def read(file: Path) -> Content | None:
    """Return the content of a file; None if it does not begin as such a file does.

    Raises errors of `pickle` if it is damaged.
    """
    with file.open("rb") as stream:
        try:
            if _Reader(stream).load() != MAGIC:
                return None
        except Exception:  # pickle raises many types
            return None
        for _ in range(HEADERS - 1):
            _Reader(stream).load()
        reader = _Reader(stream)
        return Content(reader.load(), reader.storages)


class _Storage(NamedTuple):
    key: object


class _StandIn:
    """Stands for a function, a class or an object, and keeps what it was called with."""

    parts: list[object]

    def __new__(cls, *arguments: object, **named: object) -> _StandIn:
        made = super().__new__(cls)
        made.parts = [*arguments, *named.values()]
        return made

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.parts.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.parts.append(value)

    def append(self, value: object) -> None:
        """Keep an entry, as a list does."""
        self.parts.append(value)


class _Reader(pickle.Unpickler):
    """Unpickles containers, and stand-ins for everything else."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin-1")
        self.storages: dict[Any, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return `OrderedDict`, the name of a type of storages, or a stand-in."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return name if module == "torch" and name.endswith("Storage") else _StandIn

    def persistent_load(self, pid: Any) -> object:
        """Return the storage that `pid` names, and note its bytes."""
        if pid[0] != "storage":
            return None
        _, kind, key, _, count, *_ = pid
        size = abs(int(count)) * ITEM_BYTES.get(kind.removesuffix("Storage"), 1)
        self.storages.setdefault(key, size)
        return _Storage(key)


def _keys(part: object) -> set[object]:
    """Return the keys of the storages in a part of a content, which may contain itself."""
    found, seen, left = set[object](), set[int](), [part]
    while left:
        each = left.pop()
        if isinstance(each, _Storage):
            found.add(each.key)
        elif id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, _StandIn):
                left += each.parts
            elif isinstance(each, dict):
                left += each.values()
            elif isinstance(each, (list, tuple)):
                left += each
    return found

"""Rows of a long sweep, kept in a file as soon as they are known, so that the sweep resumes."""

import hashlib
from pathlib import Path

import msgspec

from support.paths import ROOT


class Line(msgspec.Struct, frozen=True):
    """A line of the file: `key` is a hash of everything that decides the row."""

    key: str
    row: msgspec.Raw


def key_of(sources, *words):
    """Return a hash of the Python files below the folders `sources`, and of `words`."""
    digest = hashlib.sha256(" ".join(words).encode())
    for folder in sources:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """The rows of one type in a file, for one key."""

    def __init__(self, path: Path, key: str, kind: type) -> None:
        self._path = path
        self._key = key
        self._kind = kind

    def rows(self):
        """Return the rows of earlier sweeps with this key, in order."""
        if not self._path.exists():
            return []
        texts = self._path.read_bytes().splitlines()
        lines = [msgspec.json.decode(text, type=Line) for text in texts]
        return [msgspec.json.decode(e.row, type=self._kind) for e in lines if e.key == self._key]

    def add(self, row) -> None:
        """Append a row."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = Line(self._key, msgspec.Raw(msgspec.json.encode(row)))
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

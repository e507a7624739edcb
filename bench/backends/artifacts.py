"""The folder of exported networks, which is bounded in size; a round does not export again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.records import Artifact

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_BYTES = 16 * 2**30  # a run reads each of its files once a round, so all must fit
PARTIAL = ".partial"  # the end of the name of a file that is being written
KEY_DIGITS = 32
ELSEWHERE = "Free some space, or name a folder on another disk in XDG_CACHE_HOME."
EXPORT_AGAIN = "Run the same command again with --retry-failed: it exports the network anew."


class ArtifactError(Exception):
    """An exported network cannot be written, or its file is not what was exported."""


def folder() -> Path:
    """Return the folder of exported networks: below XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "backbone-bench", "exported")


def key_of(
    model: nn.Module, example: Sequence[Tensor], identity: str, versions: Sequence[str]
) -> str:
    """Return the key of a network's file: a hash of its weights, code and of what makes the file.

    Without an `identity` the key is random, since a network can differ from another one with the
    same weights.
    """
    import torch

    sources = sorted({source_hash(type(module)) for module in model.modules()})
    words = (identity or secrets.token_hex(), *versions, *sources)
    found = hashlib.sha256(repr(words).encode())
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in values.items():
        found.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        if tensor.numel():
            flat = tensor.detach().cpu().contiguous().flatten()
            found.update(flat.view(torch.uint8).numpy().data)
    for each in example:
        found.update(repr((tuple(each.shape), str(each.dtype))).encode())
    return found.hexdigest()[:KEY_DIGITS]


def key_of_converted(source: Stored, made_by: Sequence[str]) -> str:
    """Return the key of a file that is made of another one."""
    return hash_of(repr((source.name, *made_by)).encode())[:KEY_DIGITS]


def source_hash(kind: type) -> str:
    """Return a hash of the file that defines a class; "" where there is none."""
    module = sys.modules.get(kind.__module__)
    return hash_of_file(getattr(module, "__file__", None) or "")


@functools.cache
def hash_of_file(path: str) -> str:
    """Return the hash of a file of code; "" if it cannot be read."""
    with contextlib.suppress(OSError):
        return hash_of(Path(path).read_bytes())
    return ""


class Stored(NamedTuple):
    """A file of the folder: its name, `<key>-<hash>`, and its content."""

    name: str
    content: bytes


def artifact_of(stored: Stored, exporter: str) -> Artifact:
    """Return the artifact of a stored file; what a runtime executes of it is not known yet."""
    size, digits = len(stored.content), hash_of(stored.content)
    return Artifact(file=stored.name, file_hash=digits, file_bytes=size, exporter=exporter)


def hash_of(content: bytes) -> str:
    """Return the SHA-256 of the content of a file, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def is_here(artifact: Artifact) -> bool:
    """Whether the file of an artifact is in the folder; it may be damaged. It counts as used."""
    with contextlib.suppress(OSError):
        os.utime(folder() / artifact.file)
        return True
    return False


def content_of(artifact: Artifact) -> bytes:
    """Return the content of an artifact's file. Raises ArtifactError if it is gone or damaged.

    A damaged file is removed, so that the network is exported again.
    """
    path = folder() / artifact.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"the exported network cannot be read: {error.strerror}. {EXPORT_AGAIN}"
        ) from None
    if hash_of(content) != artifact.file_hash:
        with contextlib.suppress(OSError):
            path.unlink()
        raise ArtifactError(
            "the file of the exported network was changed after it was checked; it is removed now. "
            + EXPORT_AGAIN
        )
    with contextlib.suppress(OSError):
        os.utime(path)  # it was used last
    return content


def named(name: str) -> bytes:
    """Return the content of the file of that name. Raises ArtifactError if it is gone."""
    found = stored(name.partition("-")[0])
    if found is None or found.name != name:
        raise ArtifactError(f"a file that belongs to the exported network is gone. {EXPORT_AGAIN}")
    return found.content


def stored(key: str) -> Stored | None:
    """Return the file of a key, which then counts as used; None if there is none.

    A damaged file is removed.
    """
    for path in folder().glob(f"{key}-*"):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if path.name == _name(key, content):
                os.utime(path)
                return Stored(path.name, content)
            if not path.name.endswith(PARTIAL):
                path.unlink()
    return None


def stored_or_made(key: str, make: Callable[[], bytes]) -> Stored:
    """Return the file of a key, with the content that `make` returns unless it is there.

    Raises ArtifactError where the disk is full.
    """
    return stored(key) or store(key, lambda path: path.write_bytes(make()))


def store(key: str, write: Callable[[Path], object]) -> Stored:
    """Let `write` write the file of a key, and return it.

    The file has its name only when it is complete. Files that were not used for long are removed
    until all of them have at most MOST_BYTES. Raises ArtifactError where the disk is full.
    """
    partial = folder() / f"{key}-{secrets.token_hex(4)}{PARTIAL}"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        content = partial.read_bytes()
        partial.replace(folder() / (name := _name(key, content)))
    except OSError as error:
        raise ArtifactError(
            f"the exported network cannot be written: {error.strerror}. {ELSEWHERE}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    _make_room(keep=name)
    return Stored(name, content)


def _name(key: str, content: bytes) -> str:
    return f"{key}-{hash_of(content)[:KEY_DIGITS]}"


def files() -> list[Path]:
    """Return all files of the folder, those that were used last at the end."""
    return [path for _, path in _by_age()]


def _by_age() -> list[tuple[float, Path]]:
    """Return when each file was used last, and its path, in this order."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder()):
            with contextlib.suppress(OSError):  # another process removed it
                if entry.is_file(follow_symlinks=False):
                    found.append((entry.stat().st_mtime, Path(entry.path)))
    return sorted(found)


def unfinished(before: float) -> list[Path]:
    """Return the files that a killed process has not completed, written before a time (Unix)."""
    return [path for used, path in _by_age() if path.name.endswith(PARTIAL) and used < before]


def size_of(paths: Sequence[Path]) -> int:
    """Return the bytes of all files."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _make_room(keep: str) -> None:
    """Remove the files that were used longest ago until the others have at most MOST_BYTES."""
    complete = [path for path in files() if not path.name.endswith(PARTIAL)]
    total = size_of(complete)
    for path in complete:
        if total <= MOST_BYTES:
            return
        if path.name != keep:
            total -= size_of([path])
            with contextlib.suppress(OSError):
                path.unlink()

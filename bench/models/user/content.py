"""The content of a user's files: opened safely, and hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import UsageError
from bench.storage import files

HASH_LETTERS = 8
HASH = rf"#[0-9a-f]{{{HASH_LETTERS}}}"  # in a name, as a regular expression
CHUNK_BYTES = 2**20


def hash_of(content: bytes) -> str:
    """Return the first HASH_LETTERS hexadecimal digits of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:HASH_LETTERS]


def file_hash(path: Path) -> str:
    """Return the first HASH_LETTERS hexadecimal digits of SHA-256 of a file.

    Raises UsageError if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with files.open_regular(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            "Name a file that exists: --models path/to/net.py:factory, --weights file.",
        ) from error
    return digest.hexdigest()[:HASH_LETTERS]

"""Files in TOML that ship with `bench`, such as suites, or that the user names by a path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.errors import UsageError, unknown
from bench.storage import files

MOST_BYTES = 2**20
StructT = TypeVar("StructT", bound=msgspec.Struct)


def names(folder: Path) -> list[str]:
    """Return the names of the shipped files, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(name: str, folder: Path, kind: type[StructT], what: str, hint: str = "") -> StructT:
    """Read the shipped file `name`, or the file at the path `name` (ending in .toml).

    `what` names such a file in messages: "suite". Raises UsageError where it does not exist, is
    unreadable or is not valid; `hint` then follows the valid keys.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = folder / f"{name}.toml"
        if name not in names(folder):
            raise unknown(what, name, names(folder), "Or give the path of a .toml file.")
    try:
        return msgspec.convert(_parse(path), kind)
    except OSError as error:
        raise UsageError(
            f"cannot read the {what} {path}: {error.strerror}",
            f"Check the path, or use a shipped {what}: {', '.join(names(folder))}.",
        ) from error
    except (ValueError, RecursionError) as error:
        keys = f"Valid keys are: {', '.join(kind.__struct_fields__)}."
        raise UsageError(
            f"{path} is not a valid {what}: {error}", f"{keys} {hint}".rstrip()
        ) from error


def _parse(path: Path) -> object:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(files.read(path, MOST_BYTES).decode())

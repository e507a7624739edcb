"""Names of the user's models: `file.py:factory`, `module:factory`, and entry points of packages."""

from __future__ import annotations

import os
from importlib import machinery, metadata, util
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from bench.errors import UsageError
from bench.models import zoo
from bench.models.user.content import file_hash
from bench.records import Source

GROUP = "bench.models"


class UserModel(NamedTuple):
    """The name of the model in a case, and where a child process finds it."""

    name: str
    source: Source


def entry_points() -> dict[str, Source]:
    """Return the models that installed packages offer in the group `bench.models`, by name.

    Names of the zoo are ignored, so no package can replace a model of the paper.
    """
    return {
        point.name: Source(module=point.module, factory=point.attr)
        for point in metadata.entry_points(group=GROUP)
        if point.name not in zoo.ZOO and "/" not in point.name
    }


def split_form(entry: str) -> tuple[str, str, str]:
    """Split `model@form` into model, "@" and form. An @ in the path of a file starts no form."""
    path, colon, last = entry.rpartition(":")
    name, at, form = last.partition("@")
    return path + colon + name, at, form


def resolve(entry: str) -> UserModel | None:
    """Return the user's model that an entry of --models names; None if it is not a user's model.

    Raises UsageError if the file or the package does not exist, or `entry` has no factory.
    """
    offered = entry_points().get(entry)
    if offered:
        return UserModel(entry, offered)
    module, colon, factory = entry.rpartition(":")
    if entry.endswith(".py"):
        raise UsageError(
            f"{entry} does not say which function makes the network",
            f"Add the name of a function, for example: --models {entry}:net",
        )
    if not colon or not module or not factory.isidentifier():
        return None
    if not module.endswith(".py"):
        _check_package(module)
        return UserModel(entry, Source(module=module, factory=factory))
    path = Path(module)
    digest = file_hash(path)
    name = f"{_portable(path)}:{factory}#{digest}"
    source = Source(file=str(path.resolve()), factory=factory, file_hash=digest)
    return UserModel(name, source)


def with_weights(model: UserModel, weights: Path) -> UserModel:
    """Return the same model with a checkpoint. Raises UsageError if the file cannot be read."""
    digest = file_hash(weights)
    source = structs.replace(model.source, weights=str(weights.absolute()), weights_hash=digest)
    return UserModel(f"{model.name}+{weights.name}#{digest}", source)


def _check_package(module: str) -> None:
    """Raise UsageError if neither the working folder nor the environment has the package."""
    parts = module.split(".")
    if not (all(part.isidentifier() for part in parts) and _is_importable(parts[0])):
        raise UsageError(
            f"no package {parts[0]!r} to import a model from",
            "Write your model as net.py:factory or package.module:factory; add @form for a form.",
        )


def _is_importable(package: str) -> bool:
    try:
        here = machinery.PathFinder.find_spec(package, [os.getcwd()])
        return package != "__main__" and bool(here or util.find_spec(package))
    except (OSError, ValueError):  # no working folder, or a module without a spec
        return False


def _portable(path: Path) -> str:
    """Return the path relative to the working folder; for a file outside it, only its name."""
    try:
        relative = os.path.relpath(path.resolve())
    except OSError:  # the working folder is gone
        return path.name
    return path.name if relative.startswith("..") else Path(relative).as_posix()

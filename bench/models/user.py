"""Models of the user's own: `file.py:factory`, `module:factory`, and installed entry points.

A factory is called without arguments and returns an nn.Module; a user's Python file is code
and runs as such. Weights are data: safetensors, or a checkpoint that torch loads without
unpickling anything but tensors.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib import import_module, machinery, metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

from bench.errors import UsageError
from bench.models import zoo
from bench.records import Source

if TYPE_CHECKING:
    from torch import nn

GROUP = "bench.models"
HASH_LETTERS = 8
NESTED = ("state_dict", "model", "model_state_dict")  # where checkpoints keep the weights


class UserModel(NamedTuple):
    """What a case calls the model, and where a child finds it."""

    name: str
    source: Source


def entry_points() -> dict[str, Source]:
    """What installed packages offer in the group `bench.models`, by name.

    A name of the zoo stays the zoo's: no package can pose as a model of the paper.
    """
    return {
        point.name: Source(module=point.module, factory=point.attr)
        for point in metadata.entry_points(group=GROUP)
        if point.name not in zoo.ZOO and "/" not in point.name
    }


def split_form(entry: str) -> tuple[str, str, str]:
    """`model@form` to model, "@" and form; an @ in a path before the factory is no form's."""
    path, colon, last = entry.rpartition(":")
    name, at, form = last.partition("@")
    return path + colon + name, at, form


def resolve(entry: str) -> UserModel | None:
    """The model that `entry` of --models stands for; None where it is a name of the zoo.

    Raises UsageError where the file or the package does not exist.
    """
    offered = entry_points().get(entry)
    if offered:
        return UserModel(entry, offered)
    module, colon, factory = entry.rpartition(":")
    if entry.endswith(".py"):
        raise UsageError(f"{entry} names no factory", f"For example: --models {entry}:net")
    if not colon or not module or not factory.isidentifier():
        return None
    if not module.endswith(".py"):
        _check_package(module.partition(".")[0])
        return UserModel(entry, Source(module=module, factory=factory))
    path = Path(module)
    digest = _hash(path)
    name = f"{_portable(path)}:{factory}#{digest}"
    source = Source(file=str(path.resolve()), factory=factory, file_hash=digest)
    return UserModel(name, source)


def with_weights(model: UserModel, weights: Path) -> UserModel:
    """The same model with a checkpoint. Raises UsageError where the file cannot be read."""
    digest = _hash(weights)
    source = structs.replace(model.source, weights=str(weights.resolve()), weights_hash=digest)
    return UserModel(f"{model.name}+{weights.name}#{digest}", source)


def build(source: Source) -> nn.Module:
    """Call the factory. Raises what that raises, and TypeError for what is no network."""
    from torch import nn

    _check_unchanged(source.file, source.file_hash)
    module = _import_file(Path(source.file)) if source.file else import_module(source.module)
    made: Any = module
    for attribute in source.factory.split("."):
        made = getattr(made, attribute)
    net = made()
    if not isinstance(net, nn.Module):
        raise TypeError(f"{source.factory}() returned {type(net).__name__}, not an nn.Module")
    return net


def load_weights(model: nn.Module, source: Source) -> None:
    """Load a checkpoint; every name and shape must fit. Unpickles nothing but tensors."""
    import torch

    file = source.weights
    _check_unchanged(file, source.weights_hash)
    weights: Any
    if file.endswith(".safetensors"):
        from safetensors.torch import load_file

        weights = load_file(file)
    else:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        for key in NESTED:
            weights = weights.get(key, weights) if isinstance(weights, dict) else weights
    model.load_state_dict(weights)


def _check_unchanged(file: str, digest: str) -> None:
    """Raise RuntimeError where a file is no longer the one that the case names."""
    if file and _hash(Path(file)) != digest:
        raise RuntimeError(f"{Path(file).name} was changed since the run began")


def _import_file(path: Path) -> Any:
    sys.path.insert(0, str(path.parent))  # so that it can import what lies beside it
    name = f"_bench_user_{path.stem}"
    spec = util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _check_package(name: str) -> None:
    """Raise UsageError where the working folder and the environment have no such package."""
    here = machinery.PathFinder.find_spec(name, [str(Path.cwd())])
    if here is None and util.find_spec(name) is None:
        raise UsageError(
            f"no package {name!r} to import a model from",
            "A model of yours is net.py:factory or package.module:factory; a form follows @.",
        )


def _portable(path: Path) -> str:
    """Relative to the working folder; outside it the file's name alone."""
    relative = os.path.relpath(path.resolve(), Path.cwd())
    return path.name if relative.startswith("..") else Path(relative).as_posix()


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_LETTERS]
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            "Name a file that exists: --models path/to/net.py:factory, --weights file.",
        ) from error

"""Models of the user's own: `file.py:factory`, `module:factory`, and installed entry points.

A factory is called without arguments and returns an nn.Module; a user's Python file is code
and runs as such. Weights are data: safetensors, or a checkpoint that torch loads without
unpickling anything but tensors; whether a file is that is tried in a process of its own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import types
from importlib import import_module, machinery, metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

from bench.errors import UsageError
from bench.models import zoo
from bench.process import command_for_code
from bench.records import Source
from bench.storage import files

if TYPE_CHECKING:
    from torch import nn

GROUP = "bench.models"
HASH_LETTERS = 8
CODE_BYTES = 2**24  # of a user's file, at most
CHUNK_BYTES = 2**20
TRY_WEIGHTS = "import sys; from bench.models import user; user.try_weights(sys.argv[1])"
REFUSED = 3  # exit code of that; torch, where it dies of a file, ends otherwise
# torch raises one type for a damaged file and for one that holds more than tensors: only the words
# of its message, which then advise on `weights_only`, tell them apart.
ADVICE = re.compile("weights.only", re.IGNORECASE)
SAVE_TENSORS = (
    "Save tensors alone: safetensors.torch.save_file(net.state_dict(), 'net.safetensors'), or "
    "torch.save(net.state_dict(), 'net.pt')."
)
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
        _check_package(module)
        return UserModel(entry, Source(module=module, factory=factory))
    path = Path(module)
    digest = _hash(path)
    name = f"{_portable(path)}:{factory}#{digest}"
    source = Source(file=str(path.resolve()), factory=factory, file_hash=digest)
    return UserModel(name, source)


def with_weights(model: UserModel, weights: Path) -> UserModel:
    """The same model with a checkpoint. Raises UsageError where the file cannot be read."""
    digest = _hash(weights)
    source = structs.replace(model.source, weights=str(weights.absolute()), weights_hash=digest)
    return UserModel(f"{model.name}+{weights.name}#{digest}", source)


def build(source: Source) -> nn.Module:
    """Call the factory. Raises what that raises, and TypeError for what is no network."""
    from torch import nn

    sys.path.insert(0, os.getcwd())  # it may import what is there, now that torch is imported
    module = _import_file(source) if source.file else import_module(source.module)
    made: Any = module
    for attribute in source.factory.split("."):
        made = getattr(made, attribute)
    net = made()
    if not isinstance(net, nn.Module):
        raise TypeError(f"{source.factory}() returned {type(net).__name__}, not an nn.Module")
    return net


def load_weights(model: nn.Module, source: Source) -> None:
    """Load a checkpoint; every name and shape must fit. Unpickles nothing but tensors.

    Raises RuntimeError where the file is not the one that the case names, before and after.
    """
    file = Path(source.weights)
    _check_unchanged(file, source.weights_hash)
    model.load_state_dict(_read_weights(file))
    _check_unchanged(file, source.weights_hash)


def check_weights(path: Path) -> None:
    """Raise UsageError unless `path` is a checkpoint that loads, and holds tensors alone.

    A process of its own tries: the parent of a run imports no torch, and a file that torch dies
    of should not end it.
    """
    _check_weights(str(path), _hash(path))


@functools.lru_cache(maxsize=1)
def _check_weights(path: str, digest: str) -> None:
    command = command_for_code(TRY_WEIGHTS, path)
    tried = subprocess.run(command, capture_output=True, check=False)
    if tried.returncode == 0:
        return
    reason = "torch could not load it"
    if tried.returncode == REFUSED:
        reason = tried.stdout.decode().rstrip().rpartition("\n")[2]
    raise UsageError(f"{Path(path).name} is no checkpoint: {reason}", SAVE_TENSORS)


def try_weights(path: str) -> None:
    """Load a checkpoint in this process, which then ends; its last line says why it cannot be."""
    try:
        _read_weights(Path(path))
    except Exception as error:  # whatever safetensors and torch find wrong
        sentence = str(error).partition(". ")[0]
        print(ascii(sentence or type(error).__name__)[1:-1])
        sys.exit(REFUSED)


def _read_weights(file: Path) -> dict[str, Any]:
    """Tensors by name. Raises TypeError for what holds none, and what torch and safetensors do."""
    import torch

    weights: Any
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(file)
    elif tarfile.is_tarfile(file):  # before 2.6 torch unpickles those without looking
        raise TypeError("it is a tar file")
    else:
        weights = _unpickled(file)
        for key in NESTED:
            weights = weights.get(key, weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not weights:
        raise TypeError("it holds no tensors by name")
    if other := {type(each).__name__ for each in weights.values() if not torch.is_tensor(each)}:
        raise TypeError(f"beside tensors it holds {', '.join(sorted(other))}")
    return weights


def _unpickled(file: Path) -> object:
    """What torch unpickles. Its own advice to users, to trust the file, is not passed on."""
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if not ADVICE.search(str(error)):
            raise
        raise TypeError("it holds more than tensors, or is damaged") from None


def _check_unchanged(file: Path, digest: str) -> None:
    """Raise RuntimeError where a file is no longer the one that the case names."""
    if _hash(file) != digest:
        raise RuntimeError(f"{file.name} was changed since the run began")


class _Loader(machinery.SourceFileLoader):
    """Runs the very bytes that the case's name holds the hash of, and no compiled copy."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> types.CodeType:
        """Compiled anew."""
        return self.source_to_code(self._content, self.path)


def _import_file(source: Source) -> Any:
    """Run a user's file. Raises RuntimeError where it is no longer the one that the case names."""
    path = Path(source.file)
    content = files.read(path, CODE_BYTES)
    if hashlib.sha256(content).hexdigest()[:HASH_LETTERS] != source.file_hash:
        raise RuntimeError(f"{path.name} was changed since the run began")
    sys.path.insert(0, str(path.parent))  # so that it can import what lies beside it
    name = f"_bench_user_{path.stem}"
    loader = _Loader(name, str(path), content)
    spec = util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _check_package(module: str) -> None:
    """Raise UsageError where the working folder and the environment have no such package."""
    parts = module.split(".")
    if not (all(part.isidentifier() for part in parts) and _is_there(parts[0])):
        raise UsageError(
            f"no package {parts[0]!r} to import a model from",
            "A model of yours is net.py:factory or package.module:factory; a form follows @.",
        )


def _is_there(package: str) -> bool:
    try:
        here = machinery.PathFinder.find_spec(package, [os.getcwd()])
        return package != "__main__" and bool(here or util.find_spec(package))
    except (OSError, ValueError):  # no working folder, or a module without a spec
        return False


def _portable(path: Path) -> str:
    """Relative to the working folder; outside it the file's name alone."""
    try:
        relative = os.path.relpath(path.resolve())
    except OSError:  # the working folder is gone
        return path.name
    return path.name if relative.startswith("..") else Path(relative).as_posix()


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with files.opened(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            "Name a file that exists: --models path/to/net.py:factory, --weights file.",
        ) from error
    return digest.hexdigest()[:HASH_LETTERS]

"""The user's models: `file.py:factory`, `module:factory`, and entry points of installed packages.

A factory takes no arguments and returns an nn.Module. A user's Python file is executed as code.
Weights are data: a safetensors file, or a checkpoint from which torch unpickles only tensors. A
separate process checks a file of weights before the run.
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
CODE_BYTES = 2**24  # maximum size of a user's Python file
CHUNK_BYTES = 2**20
TRY_WEIGHTS = "import sys; from bench.models import user; user.try_weights(sys.argv[1])"
REFUSED = 3  # exit code of TRY_WEIGHTS for a refused file; a crash of torch has another code
# torch raises the same type for a damaged file and for a file with other objects than tensors. Only
# its message differs: it then gives advice about `weights_only`.
ADVICE = re.compile("weights.only", re.IGNORECASE)
SAVE_TENSORS = (
    "Save tensors alone: safetensors.torch.save_file(net.state_dict(), 'net.safetensors'), or "
    "torch.save(net.state_dict(), 'net.pt')."
)
NESTED = ("state_dict", "model", "model_state_dict")  # keys of the weights in checkpoints


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
    digest = _hash(path)
    name = f"{_portable(path)}:{factory}#{digest}"
    source = Source(file=str(path.resolve()), factory=factory, file_hash=digest)
    return UserModel(name, source)


def with_weights(model: UserModel, weights: Path) -> UserModel:
    """Return the same model with a checkpoint. Raises UsageError if the file cannot be read."""
    digest = _hash(weights)
    source = structs.replace(model.source, weights=str(weights.absolute()), weights_hash=digest)
    return UserModel(f"{model.name}+{weights.name}#{digest}", source)


def build(source: Source) -> nn.Module:
    """Call the factory and return its network.

    Raises TypeError if the result is not an nn.Module, and any exception of the user's code.
    """
    from torch import nn

    sys.path.insert(0, os.getcwd())  # for imports of the user's code; after torch is imported
    module = _import_file(source) if source.file else import_module(source.module)
    made: Any = module
    for attribute in source.factory.split("."):
        made = getattr(made, attribute)
    net = made()
    if not isinstance(net, nn.Module):
        raise TypeError(f"{source.factory}() returned {type(net).__name__}, not an nn.Module")
    return net


def load_weights(model: nn.Module, source: Source) -> None:
    """Load a checkpoint into `model`. Unpickles only tensors.

    Raises RuntimeError if a name or a shape does not match. Raises RuntimeError if the file's hash
    is not `source.weights_hash`, before or after loading: then the file changed during the run.
    Raises TypeError if the file does not map names to tensors.
    """
    file = Path(source.weights)
    _check_unchanged(file, source.weights_hash)
    model.load_state_dict(_read_weights(file))
    _check_unchanged(file, source.weights_hash)


def check_weights(path: Path) -> None:
    """Raise UsageError unless `path` is a checkpoint that can be loaded and has only tensors.

    A separate process loads it: the parent process of a run imports no torch, and a file that
    crashes torch must not end the run.
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
    """Load a checkpoint; if it fails, print the reason and exit with REFUSED.

    `_check_weights` runs this function in a separate process.
    """
    try:
        _read_weights(Path(path))
    except Exception as error:  # safetensors and torch raise many types
        sentence = str(error).partition(". ")[0]
        print(ascii(sentence or type(error).__name__)[1:-1])
        sys.exit(REFUSED)


def _read_weights(file: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name.

    Raises TypeError if it has anything else, and exceptions of torch and safetensors.
    """
    import torch

    weights: Any
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(file)
    elif tarfile.is_tarfile(file):  # torch before 2.6 unpickles any object from a tar file
        raise TypeError("it is a tar file")
    else:
        weights = _unpickled(file)
        for key in NESTED:
            weights = weights.get(key, weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not weights:
        raise TypeError("it holds no tensors by name")
    if other := {type(value).__name__ for value in weights.values() if not torch.is_tensor(value)}:
        raise TypeError(f"beside tensors it holds {', '.join(sorted(other))}")
    return weights


def _unpickled(file: Path) -> object:
    """Return what torch unpickles, with `weights_only`.

    torch's message advises users to trust the file; a TypeError without that advice replaces it.
    """
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if not ADVICE.search(str(error)):
            raise
        raise TypeError("it holds more than tensors, or is damaged") from None


def _check_unchanged(file: Path, digest: str) -> None:
    """Raise RuntimeError if the hash of the file differs from the hash in the name of the case."""
    if _hash(file) != digest:
        raise RuntimeError(f"{file.name} was changed since the run began")


class _Loader(machinery.SourceFileLoader):
    """Runs the bytes whose hash is in the name of the case, and never a cached .pyc file."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the given bytes."""
        return self.source_to_code(self._content, self.path)


def _import_file(source: Source) -> Any:
    """Run a user's file as a module. Raises RuntimeError if the file has changed."""
    path = Path(source.file)
    content = files.read(path, CODE_BYTES)
    if hashlib.sha256(content).hexdigest()[:HASH_LETTERS] != source.file_hash:
        raise RuntimeError(f"{path.name} was changed since the run began")
    sys.path.insert(0, str(path.parent))  # so that it can import other files in its folder
    name = f"_bench_user_{path.stem}"
    loader = _Loader(name, str(path), content)
    spec = util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


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


def _hash(path: Path) -> str:
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

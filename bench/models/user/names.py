"""Names of the user's models.

They are `file.py:factory`, `module:factory`, `folder::module:factory`, and entry points.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from importlib import machinery, util
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from bench.errors import UsageError
from bench.models.user.content import HASH, file_hash, hash_of
from bench.models.user.layout import layout_of, with_sources
from bench.models.user.packages import entry_points
from bench.records import Source

ROOT_SEPARATOR = "::"  # between a folder and a module in it
# The model ends where the weights begin: after `:factory`, or else before the first +.
WEIGHTS_OF_CODE = re.compile(rf"(?P<model>.*?:[^\W\d]\w*({HASH})?)\+(?P<weights>.+)", re.DOTALL)
WEIGHTS_OF_NAME = re.compile(r"(?P<model>[^:+]+)\+(?P<weights>[^:]+)(?<!\.py)")
HASH_AT_END = re.compile(rf"{HASH}\Z")


class UserModel(NamedTuple):
    """The name of the model in a case, and where a child process finds it."""

    name: str
    source: Source

    @property
    def code(self) -> str:
        """The name of the code alone, without hashes and weights: `net.py:net`."""
        return HASH_AT_END.sub("", self.name.removesuffix(self.weights))

    @property
    def digest(self) -> str:
        """The hash of the code, with its #; "" where the name has none."""
        return self.name.removesuffix(self.weights).removeprefix(self.code)

    @property
    def weights(self) -> str:
        """What a file of weights adds to the name: `+weights.pt#1a2b3c4d`; "" without weights."""
        source = self.source
        return f"+{_portable(source.weights)}#{source.weights_hash}" if source.weights else ""


def split_form(entry: str) -> tuple[str, str, str]:
    """Split `model@form` into model, "@" and form. An @ in the path of a file starts no form."""
    name, at, form = entry.rpartition("@")
    return (name, at, form) if at and not set(form) & set("/.:+") else (entry, "", "")


def split_hash(name: str) -> tuple[str, str]:
    """Split `net.py:net#1a2b3c4d`, as results print it, into the name and its hash with #."""
    code = HASH_AT_END.sub("", name)
    return code, name.removeprefix(code)


def weights_named(name: str) -> str:
    """Return the file of weights in the name of a model, with its hash; "" without weights."""
    found = WEIGHTS_OF_CODE.fullmatch(name) or WEIGHTS_OF_NAME.fullmatch(name)
    return found["weights"] if found else ""


def split_weights(name: str) -> tuple[str, Path | None]:
    """Split `net.py:net+weights.pt` or `resnet50+weights.pt` into the model and its weights.

    The weights may end in their hash, as in the names of results. Raises UsageError if the file now
    has another hash.
    """
    found = WEIGHTS_OF_CODE.fullmatch(name) or WEIGHTS_OF_NAME.fullmatch(name)
    if not found:
        return name, None
    path = found["weights"]
    digest = HASH_AT_END.search(path)
    if digest is None or os.path.exists(path):
        return found["model"], Path(path)
    weights = Path(path[: digest.start()])
    if file_hash(weights) != digest[0][1:]:
        raise UsageError(
            f"{weights} was changed: its hash is {file_hash(weights)}, not {digest[0][1:]}",
            f"Leave the hash out: --models {found['model']}+{weights}",
        )
    return found["model"], weights


def resolve(entry: str) -> UserModel | None:
    """Return the user's model that an entry of --models names; None if it is not a user's model.

    The name ends in the hash of the named file; `identified` replaces the hash. Raises UsageError
    if the file or the package does not exist, or `entry` has no factory.
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
    root, separator, below = module.rpartition(ROOT_SEPARATOR)
    if separator:
        return _below(root, below, factory)
    if not module.endswith(".py"):
        return UserModel(entry, Source(module=module, factory=factory, path=_path_of(module)))
    return _of_file(Path(module), factory)


def identified(
    model: UserModel, files: Mapping[str, str], built: Sequence[object] = ()
) -> UserModel:
    """Return the same model, named by the content of its files and by what its factory `built`.

    `files` are the imported files and their hashes.
    """
    digest = hash_of(msgspec.json.encode([files, *built], order="sorted"))
    source = structs.replace(model.source, files=tuple(sorted(files.items())))
    return UserModel(f"{model.code}#{digest}{model.weights}", source)


def with_weights(model: UserModel, weights: Path) -> UserModel:
    """Return the same model with a checkpoint. Raises UsageError if the file cannot be read."""
    digest = file_hash(weights)
    source = structs.replace(model.source, weights=str(weights.absolute()), weights_hash=digest)
    weighted = UserModel(model.name, source)
    return UserModel(model.name + weighted.weights, source)


def _of_file(path: Path, factory: str) -> UserModel:
    digest, file = file_hash(path), path.resolve()
    layout = layout_of(file)
    root = layout.folders[0] if layout.module else file.parent
    return UserModel(
        f"{_portable(file)}:{factory}#{digest}",
        Source(
            file=str(file),
            factory=factory,
            module=layout.module,
            path=tuple(map(str, layout.folders)),
            files=((file.relative_to(root).as_posix(), digest),),
        ),
    )


def _below(root: str, module: str, factory: str) -> UserModel:
    """Return the model of a `module` in the folder `root`. Raises UsageError if there is none."""
    package = module.partition(".")[0]
    if not (_is_dotted(module) and os.path.isdir(root) and _find(package, [root])):
        raise UsageError(
            f"the folder {root or '.'} has no package {package!r}",
            "Name the folder that has the package: base/src::mynet.model:net.",
        )
    folder = Path(root)
    source = Source(module=module, factory=factory, path=(str(folder.resolve()),))
    return UserModel(f"{_portable(folder.resolve())}{ROOT_SEPARATOR}{module}:{factory}", source)


def _path_of(module: str) -> tuple[str, ...]:
    """Return the folder of the package, if it is below the working folder; () if it is installed.

    Raises UsageError if neither the working folder nor the environment has the package.
    """
    package = module.partition(".")[0]
    if _is_dotted(module) and package != "__main__":
        with contextlib.suppress(OSError, ValueError):  # no working folder; a module without a spec
            here = [str(folder) for folder in with_sources(Path.cwd())]
            installed = util.find_spec(package)
            for folder in here:
                if (spec := _find(package, [folder])) and (spec.loader or not installed):
                    return (folder,)
            if installed:
                return ()
    raise UsageError(
        f"no package {package!r} to import a model from",
        "Write your model as net.py:factory or package.module:factory; add @form for a form.",
    )


def _is_dotted(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _find(package: str, folders: list[str]) -> machinery.ModuleSpec | None:
    return machinery.PathFinder.find_spec(package, folders)


def _portable(path: Path | str) -> str:
    """Return an absolute path relative to the working folder; outside it, only the last part."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working folder is gone
        return Path(path).name
    return Path(path).name if relative.startswith("..") else Path(relative).as_posix()

"""Imports of the user's code: its own modules come first, and each file that runs is hashed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from importlib import machinery, util
from os.path import isfile
from pathlib import Path
from typing import Any

import bench
from bench.errors import UsageError
from bench.models.user.content import file_hash, hash_of
from bench.models.user.layout import CODE_BYTES
from bench.records import Source
from bench.storage import files

SCRIPT_PREFIX = "_bench_user_"  # a script is no module of a package
OUR_OWN = Path(bench.__file__).parent
INSTALLED = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
SITE_FOLDERS = ("site-packages", "dist-packages")


class UserImports:
    """The modules that a user's code imports in this process.

    Modules of the user are compiled from the bytes that were hashed, never from a cached .pyc file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known = dict(source.files)
        self._hashes: dict[str, str] = {}  # of the files that ran, by module
        self._before: set[str] = set()

    def begin(self) -> None:
        """Let the user's modules come first in `sys.path`, and forget others of their names."""
        own = Path(self._source.file).parent if self._source.module and self._source.file else None
        sys.path[:0] = list(dict.fromkeys([*self._source.path, os.getcwd()]))
        sys.path += [str(own)] if own else []  # last: its modules have names of their package
        sys.path_hooks.insert(0, self._finder)
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
        _forget_others(self._source.path)
        self._before = set(sys.modules)
        self._add_namespace_packages()

    def run_script(self) -> types.ModuleType:
        """Run the file of the source as a module that belongs to no package."""
        name = SCRIPT_PREFIX + Path(self._source.file).stem
        loader = _Loader(self._note, name, self._source.file)
        spec = util.spec_from_file_location(name, self._source.file, loader=loader)
        assert spec is not None
        module = util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
        return module

    def files(self) -> dict[str, str]:
        """Return the imported files of the user, with the hash of each.

        A file is called by its path below the folder in `sys.path`. The modules of Python, of
        installed packages and of bench are left out, but not the package that has the factory.
        """
        package = self._source.module.partition(".")[0]
        found = {}
        for name, module in list(sys.modules.items()):
            file = _file_of(module)
            is_own = name.partition(".")[0] == package
            if (is_own or (name not in self._before and not _is_installed(file))) and isfile(file):
                digest = self._hashes.get(name) or file_hash(Path(file))
                found[_name_of(name, file)] = digest
        return dict(sorted(found.items()))

    def check(self) -> None:
        """Raise UsageError if a module came from elsewhere, although the user's folders have it."""
        for name, own, file in _others(self._source.path):
            raise UsageError(
                f"the module {name} was imported from {_shown(file)}, not from {_shown(str(own))}",
                "Uninstall the other package, or give the package of your own an __init__.py and "
                "a name that nothing else has.",
            )

    def _finder(self, folder: str) -> machinery.FileFinder:
        """Return what finds modules in a folder of the user; a hook of `sys.path_hooks`."""
        if not os.path.isdir(folder or os.curdir) or _is_installed(folder):
            raise ImportError(folder)
        loader: Callable[..., Any] = functools.partial(_Loader, self._note)
        return machinery.FileFinder(
            folder,
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (loader, machinery.SOURCE_SUFFIXES),  # type: ignore[arg-type, unused-ignore]
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )

    def _note(self, name: str, file: str, content: bytes) -> None:
        """Remember the hash of a file that is about to run. Raises RuntimeError if it changed."""
        self._hashes[name] = hash_of(content)
        if self._known.get(_name_of(name, file), self._hashes[name]) != self._hashes[name]:
            raise RuntimeError(f"{Path(file).name} was changed since the run began")

    def _add_namespace_packages(self) -> None:
        """Import the factory's packages without `__init__.py` from the first folder alone.

        Otherwise Python prefers a package of the same name with `__init__.py`, wherever it is.
        """
        parts = self._source.module.split(".")[:-1] if self._source.path else []
        parent: types.ModuleType | None = None
        for number, part in enumerate(parts, 1):
            folder = Path(self._source.path[0], *parts[:number])
            if (folder / "__init__.py").exists() or not folder.is_dir():
                return
            package = types.ModuleType(".".join(parts[:number]))
            package.__path__ = [str(folder)]
            sys.modules[package.__name__] = package
            if parent:
                setattr(parent, part, package)
            parent = package


class _Loader(machinery.SourceFileLoader):
    """Reads a file once, notes its content, and runs that content."""

    def __init__(self, note: Callable[[str, str, bytes], None], name: str, path: str) -> None:
        super().__init__(name, path)
        self._note = note

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the file. Raises UsageError if it is no Python."""
        content = files.read(Path(self.path), CODE_BYTES)
        self._note(fullname, self.path, content)
        try:
            return self.source_to_code(content, self.path)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            what = error.msg if isinstance(error, SyntaxError) else str(error)
            raise UsageError(
                f"{_shown(self.path)} is no Python file: {what}{line}",
                "Correct the file: `python -m py_compile FILE` shows the mistake.",
            ) from error


def _forget_others(folders: tuple[str, ...]) -> None:
    """Forget imported packages whose names the user's folders have, so that these are imported.

    A package with compiled modules stays, because Python cannot load these twice.
    """
    for top in {name.partition(".")[0] for name, _, _ in _others(folders)}:
        modules = {name for name in sys.modules if name == top or name.startswith(f"{top}.")}
        suffixes = tuple(machinery.EXTENSION_SUFFIXES)
        if not any(_file_of(sys.modules[name]).endswith(suffixes) for name in modules):
            for name in modules:
                del sys.modules[name]


def _others(folders: tuple[str, ...]) -> Iterator[tuple[str, Path, str]]:
    """Yield the imported modules that the folders have too, but that came from elsewhere.

    Each is a name, the file in the folders, and the file that was imported. The modules of Python
    and of bench are left out.
    """
    listed = {Path(entry).stem for folder in folders for entry in _entries(folder)}
    listed -= {*sys.stdlib_module_names, OUR_OWN.name}
    for name, module in list(sys.modules.items()):
        file = _file_of(module)
        if file and name.partition(".")[0] in listed:
            own = next(_places(name, folders), None)
            if own and not any(_is_same(place, file) for place in _places(name, folders)):
                yield name, own, file


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _places(name: str, folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files that a module of this name has in the folders."""
    for folder in folders:
        path = Path(folder, *name.split("."))
        candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
        yield from (each for each in candidates if each.is_file())


def _is_same(path: Path, file: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(path, file)
    return False


def _is_installed(path: str) -> bool:
    """Whether a file or folder belongs to Python, to an installed package or to bench."""
    known = Path(os.path.abspath(path))
    homes = [*map(Path, INSTALLED), OUR_OWN]
    return any(home in (known, *known.parents) for home in homes) or any(
        part in SITE_FOLDERS for part in known.parts
    )


def _file_of(module: Any) -> str:
    """Return the file of a module; "" for one without a file. Modules may raise anything."""
    with contextlib.suppress(Exception):
        file = module.__file__
        return file if isinstance(file, str) else ""
    return ""


def _name_of(module: str, file: str) -> str:
    """Return the path of a module's file below the folder in `sys.path`."""
    path = Path(file)
    if module.startswith(SCRIPT_PREFIX):
        return path.name
    parts = module.split(".")
    if path.stem == "__init__":
        parts.append(path.stem)
    return "/".join(parts) + path.suffix


def _shown(file: str) -> str:
    """Return a path for a message: below the working folder, or below the installed packages."""
    path = Path(os.path.relpath(os.path.realpath(file), os.path.realpath(os.curdir)))
    for folder in SITE_FOLDERS:
        if folder in path.parts:
            return Path(*path.parts[path.parts.index(folder) :]).as_posix()
    return Path(*path.parts[-2:]).as_posix() if ".." in path.parts else path.as_posix()

"""Where a user's file belongs: the module that it is, and the folders that it imports from."""

from __future__ import annotations

import ast
import os
import warnings
from pathlib import Path
from typing import NamedTuple

from bench.storage import files

CODE_BYTES = 2**24  # maximum size of a user's Python file
MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")  # a checkout has one of them
MAX_LEVELS = 8  # folders above a file that may be the checkout


class Layout(NamedTuple):
    """The name of a file as a module, "" for a script, and the folders of its checkout.

    The folders come first in `sys.path`, in this order.
    """

    module: str
    folders: tuple[Path, ...]


def layout_of(file: Path) -> Layout:
    """Find the package and the checkout of a Python file.

    A folder with `__init__.py` is a package. So is a folder without it, if the file imports from
    it: `from .blocks import B`, or `from mynets.blocks import B` in `mynets/net.py`. The checkout
    is the next folder above with one of MARKERS; the search ends at the working folder.
    """
    root = file.parent
    while (root / "__init__.py").is_file() and "." not in root.name:
        root = root.parent
    if root == file.parent:
        root = _namespace_root(file)
    parts = file.relative_to(root).with_suffix("").parts
    is_module = len(parts) > 1 and not any("." in part for part in parts)
    names = parts[:-1] if parts[-1] == "__init__" else parts
    return Layout(".".join(names) if is_module else "", _folders(root))


def with_sources(folder: Path) -> list[Path]:
    """Return the folder, and its `src` if packages lie in there."""
    sources = folder / "src"
    is_layout = sources.is_dir() and not (sources / "__init__.py").exists()
    return [folder, sources] if is_layout else [folder]


def _folders(root: Path) -> tuple[Path, ...]:
    checkout = _checkout(root)
    both = [*with_sources(root), *(with_sources(checkout) if checkout else [])]
    return tuple(dict.fromkeys(both))


def _checkout(folder: Path) -> Path | None:
    """Return the next folder with one of MARKERS, but neither the home folder nor one above it."""
    here, home = os.path.realpath(os.curdir), os.path.realpath(Path("~").expanduser())
    for each in [folder, *folder.parents][:MAX_LEVELS]:
        if str(each) != home and any((each / marker).exists() for marker in MARKERS):
            return each
        if str(each) in (here, home):
            break
    return None


def _namespace_root(file: Path) -> Path:
    """Return the folder above the packages without `__init__.py` that the file imports from."""
    imported = _imports(file)
    level = max((level for level, _ in imported), default=0)
    root = file.parents[min(level, len(file.parents) - 1)]
    absolute = [name.split(".") for level, name in imported if not level and "." in name]
    for package in file.parents[:MAX_LEVELS]:
        own = [package.parent.joinpath(*parts) for parts in absolute if parts[0] == package.name]
        if any(map(_is_module, own)):
            return package.parent if package.parent in root.parents else root
    return root


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or path.is_dir()


def _imports(file: Path) -> list[tuple[int, str]]:
    """Return the level (number of dots) and the name of each import; [] if the syntax is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(files.read(file, CODE_BYTES))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found += [(node.level, f"{module}.{alias.name}") for alias in node.names]
            found.append((node.level, module))
    return found

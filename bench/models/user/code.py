"""Runs the user's code: imports the file or module and calls the factory.

A factory takes no arguments and returns an nn.Module. A user's Python file is executed as code.
"""

from __future__ import annotations

import hashlib
import os
import sys
import types
from importlib import import_module, machinery, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models.user.content import HASH_LETTERS
from bench.records import Source
from bench.storage import files

if TYPE_CHECKING:
    from torch import nn

CODE_BYTES = 2**24  # maximum size of a user's Python file


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


class _Loader(machinery.SourceFileLoader):
    """Runs the bytes whose hash is in the name of the case, and never a cached .pyc file."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the given bytes."""
        return self.source_to_code(self._content, self.path)

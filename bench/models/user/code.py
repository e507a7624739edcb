"""Runs the user's code: imports the file or module and calls the factory.

A factory takes no arguments and returns an nn.Module. A user's Python file is executed as code.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, unknown
from bench.models.unwrap import unwrap
from bench.models.user.imports import UserImports
from bench.records import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUTS = (
    "Return a tensor, or a tuple of tensors, with `batch` rows each: "
    "`def example_inputs(batch, resolution): return torch.randn(batch, 1, resolution, resolution)`."
)
EXAMPLE = "A factory is a function without arguments that returns a network: `def net(): ...`."
_imports: dict[Source, UserImports] = {}  # of this process
_modules: dict[Source, Any] = {}
_notes: dict[Source, list[str]] = {}


def build(source: Source) -> nn.Module:
    """Call the factory and return its network, without the wrappers that `unwrap` takes off.

    Raises UsageError if the file is no Python, if it has no such factory, if the factory needs
    arguments or returns something else, or if another package of the same name was imported.
    Raises any exception of the user's code. Afterwards, `sys.path` begins with the user's folders.
    """
    import torch  # noqa: F401  # before the user's folders come first

    imports = _imports[source] = UserImports(source)
    imports.begin()
    try:
        module = _modules[source] = _module(source, imports)
        network, _notes[source] = unwrap(_call(_factory(source, module), source.factory))
        return network
    finally:
        imports.check()


def notes(source: Source) -> list[str]:
    """Return what the user should know of the network that `build` returned."""
    return _notes.get(source, [])


def example_inputs(source: Source, batch: int, resolution: int) -> list[Tensor] | None:
    """Return what `example_inputs(batch, resolution)` beside the factory returns, as a list.

    None where the user's module has no such function, or has not been imported yet. Raises
    UsageError unless it returns tensors with `batch` rows each.
    """
    from torch import Tensor

    make = getattr(_modules.get(source), "example_inputs", None)
    if make is None:
        return None
    made = make(batch, resolution)
    tensors = list(made) if isinstance(made, (tuple, list)) else [made]
    if not tensors or not all(isinstance(each, Tensor) for each in tensors):
        found = ", ".join(type(each).__name__ for each in tensors) or "nothing"
        raise UsageError(f"example_inputs returned {found}, not tensors", INPUTS)
    for each in tensors:
        if each.shape[:1] != (batch,):
            shape = tuple(each.shape)
            raise UsageError(f"example_inputs({batch}, {resolution}) returned {shape}", INPUTS)
    return tensors


def imported_files(source: Source | None) -> dict[str, str]:
    """Return the files of the user's code that `build` imported and ran, with their hashes.

    Empty where no code of the user was built.
    """
    imports = _imports.get(source) if source else None
    return imports.files() if imports else {}


def _module(source: Source, imports: UserImports) -> Any:
    if not source.module:
        return imports.run_script()
    try:
        return import_module(source.module)
    except ModuleNotFoundError as error:
        if error.name and f"{source.module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {source.module!r}: {error}", "Check the name of the module."
            ) from error
        raise


def _factory(source: Source, module: Any) -> Any:
    """Return what the module calls by the name of the factory. Raises UsageError."""
    made = module
    for attribute in source.factory.split("."):
        if not hasattr(made, attribute):
            where = Path(source.file).name if source.file else source.module
            public = [name for name in dir(made) if not name.startswith("_")]
            known = [name for name in public if callable(getattr(made, name, None))]
            if not known:
                raise UsageError(f"{where} has no factory {attribute!r}", EXAMPLE)
            raise unknown(f"factory in {where}:", attribute, known, EXAMPLE)
        made = getattr(made, attribute)
    return made


def _call(made: Any, name: str) -> nn.Module:
    """Call the factory. Raises UsageError for anything else than a factory of a network."""
    from torch import nn

    if isinstance(made, nn.Module):
        raise UsageError(
            f"{name} is a network, not a function that returns one",
            f"Write `def make(): return {name}`, and name `make`.",
        )
    if not callable(made):
        raise UsageError(f"{name} is of type {type(made).__name__}, not a function", EXAMPLE)
    if missing := _required(made):
        raise UsageError(
            f"{name} needs arguments: {', '.join(missing)}",
            f"Write a function without arguments: `def make(): return {name}(...)`.",
        )
    net = made()
    if not isinstance(net, nn.Module):
        raise UsageError(f"{name}() returned {type(net).__name__}, not an nn.Module", EXAMPLE)
    return net


def _required(made: Any) -> list[str]:
    """Return the parameters without a default; [] if they are not known."""
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        each.name for each in parameters if each.default is each.empty and each.kind not in optional
    ]

"""Networks as programs of `torch.export`, of which the files of runtimes are made."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import bench
from bench.backends import artifacts, packages

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    T = TypeVar("T")

EXPORT = "torch.export"
MAX_REASON_CHARS = 300


class ExportError(Exception):
    """The network cannot be exported."""


def exported(
    make: Callable[[nn.Module, tuple[Tensor, ...]], T],
    model: nn.Module,
    example: Sequence[Tensor],
) -> T:
    """Return what `make` makes of copies of the network and its inputs, on the CPU.

    The network stays as it is. Raises ExportError that names the operator, if one cannot be
    exported.
    """
    with exporting():
        # Tensors of the inference mode cannot be exported; copies made outside of it can.
        plain = copy.deepcopy(model).requires_grad_(False).cpu()
        inputs = tuple(each.detach().to("cpu", copy=True).contiguous() for each in example)
        return make(plain, inputs)


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Leave the inference mode; let what an exporter raises be an ExportError with its reason."""
    import torch

    with torch.inference_mode(False), torch.no_grad():
        try:
            yield
        except ExportError:
            raise
        except Exception as error:  # exporters raise errors of many types
            raise ExportError(_reason(error)) from error


def captured(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Return the program that one call of the network runs, for inputs of these shapes."""
    import torch

    return torch.export.export(model, inputs)


def made_by(names: Iterable[str], source: str, *further: str) -> list[str]:
    """Return what decides the content of an exported file, besides the network: for its key.

    Those are the versions of packages, the code of `source` and of this file, and `further` words.
    """
    versions = [f"{name} {packages.version(name)}" for name in (*names, "torch", "timm")]
    code = [artifacts.hash_of_file(each) for each in (source, __file__)]
    return [*versions, f"bench {bench.__version__}", *code, *further]


def _reason(error: BaseException) -> str:
    """Return the first line of the error that caused the others: it names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:MAX_REASON_CHARS]

"""Backends by the name that `--backend` takes: modules of one shape in one dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bench.backends import channels_last, compiled, cudagraph, eager

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["BACKENDS", "Backend", "about"]


class Backend(Protocol):
    """What executes a network: a module of this shape.

    `one_by_one` says that it runs each operator as the network calls it, so that a profile can
    book every operator to its module.
    """

    one_by_one: bool

    def preload(self) -> None:
        """Import what loading needs, before memory is measured; start no thread."""

    def name_kernels(self) -> None:
        """Before a profile: have kernels that are compiled from now on tell their names."""

    def load(self, model: nn.Module, example: Tensor, precision: str) -> Callable[[], Tensor]:
        """Return a call that runs `model` on `example` (N, 3, H, W), the same tensor each time.

        Both are on the device and of the precision's type already, and this process computes
        fp32 as it says. Whatever compiling or capturing takes happens here; what is raised here
        is a Failure of the case at `load`.
        """

    def missing(self, torch_device: str) -> str | None:
        """What this machine lacks for it, with the remedy; None where it has it all."""


def about(backend: Backend) -> str:
    """The first line that its module says of it."""
    return (backend.__doc__ or "").partition("\n")[0]


BACKENDS: dict[str, Backend] = {
    "eager": eager,
    "channels_last": channels_last,
    "compile": compiled,
    "cudagraph": cudagraph,
}

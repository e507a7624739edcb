"""What a backend offers: it executes networks. Importing this imports no torch and no runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.devices.precision import is_quantised
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.backends.runtime import RuntimeProfile

Call = Callable[[], object]
FP32 = "fp32"


class Calibration(NamedTuple):
    """Inputs of some calls of a network, on which the ranges of quantised values are found.

    `about` says what they are, in words; `digest` is a hash of them.
    """

    calls: Sequence[Sequence[Tensor]]
    about: str
    digest: str


class WrongEngineError(Exception):
    """The runtime executes something else than it was asked for."""


class Backend:
    """Executes networks. A subclass has `load`, and overrides what differs from these defaults.

    - `one_by_one`: the backend runs each operator as the network calls it. A profile can then
      assign every operator to its module.
    - `trains`: `network` returns a network with gradients.
    - `first_s`: about so many seconds a network takes longer the first time, to be compiled or
      exported. An estimate of a run counts them.
    - `takes_new_images`: a call reads the tensors of `example` each time, so that other images can
      be copied into them.
    - `replays_graph`: a call replays a CUDA graph.
    - `exporters`: the ways to export a network into a file that the backend executes, the best one
      first; () where the backend executes the network itself.
    - `file_kind`: what `bench export --to` calls such a file. `file_ends`: the end of its name;
      several where it consists of as many files.
    - `keeps_threads`: the backend has threads of its own, which may compute after a call returned.
    """

    one_by_one = False
    trains = False
    first_s = 0.0
    takes_new_images = True
    replays_graph = False
    exporters: tuple[str, ...] = ()
    file_kind = ""
    file_ends: tuple[str, ...] = ()
    keeps_threads = False

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Return a function that calls `model(*example)`, with the same tensors each time.

        `example` is one image tensor (N, C, H, W), or what the user's `example_inputs` returns.
        `model` and `example` are already on the device, in the type of `precision`; the switches
        of the precision are set. Compilation and capture happen here. An exception becomes a
        Failure of the case at the stage `load`.
        """
        raise NotImplementedError

    def network(self, model: nn.Module, example: Sequence[Tensor]) -> Callable[..., object]:
        """Return what is called to execute `model`, for a backend that trains.

        It may change the order of the memory of `model` and `example`.
        """
        raise NotImplementedError

    def loaded(self) -> None:
        """End what `network` has started and its first calls have used."""

    def open(self, artifact: Artifact, example: Sequence[Tensor], precision: str) -> Call:
        """Return what `load` returns, for a network that `export` has exported."""
        raise NotImplementedError

    def export(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        exporter: str,
        identity: str = "",
        calibration: Calibration | None = None,
    ) -> Artifact:
        """Export the network as `load` gets it, unless the file of `identity` is there already.

        `identity` says what tells this network from others besides weights and shapes; "" exports
        anew. `exporter` is one of `exporters`. With `calibration`, the file is a quantised one.
        """
        raise NotImplementedError

    def literal(self, artifact: Artifact, example: Sequence[Tensor]) -> Call:
        """Return a call of a quantised file that executes each operator by itself, in float32."""
        raise NotImplementedError

    def executed(self, call: Call, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with what the runtime says that it executes in `call`.

        `gelus` are those of the network, None if they are not known. Raises WrongEngineError where
        the runtime executes something else than it was asked for.
        """
        raise NotImplementedError

    def profile(self, call: Call, artifact: Artifact) -> RuntimeProfile | None:
        """Return the runtime's own profiler of what `open` has loaded; None if it has none."""
        return None

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return the content of an exported file with a passport in it, by part of `file_ends`."""
        raise NotImplementedError

    def preload(self) -> None:
        """Import the modules that `load` needs, before memory is measured; start no thread."""

    def name_kernels(self) -> None:
        """Give names to kernels that are compiled later. Called before a profile."""

    def settings(self, call: Call) -> Mapping[str, str | int]:
        """Return the settings of the runtime, which are on record with those of the process."""
        return {}

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions, by package, that decide what is executed, besides torch's.

        It imports none of the packages.
        """
        return {}

    def missing(self, torch_device: str) -> str | None:
        """Return what this machine lacks for the backend, with the remedy; None if nothing."""
        return None

    def given(self, precision: str) -> str:
        """Return the precision of weights and inputs that the backend is given.

        It computes in `precision`, to which a runtime may convert them by itself.
        """
        return FP32 if is_quantised(precision) else precision

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """Return why the backend cannot compute in `precision`; None if it can."""
        if is_quantised(precision):
            return "it computes in floating point; runtimes have integers, as onnxruntime"
        return None


def about(backend: Backend) -> str:
    """Return the first line of the docstring of the class, for `bench list backends`."""
    return (type(backend).__doc__ or "").partition("\n")[0]

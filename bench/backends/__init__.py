"""The table of backends, by the name for `--backend`. Each backend is a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from bench.backends import channels_last, compiled, cudagraph, eager

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["BACKENDS", "Backend", "about"]


class Backend(Protocol):
    """The functions and attributes of a backend module. A backend executes networks.

    `one_by_one`: the backend runs each operator as the network calls it. A profile can then
    assign every operator to its module. `takes_new_images`: a call reads the tensors of `example`
    each time, so that other images can be copied into them. `replays_graph`: a call replays a CUDA
    graph.
    """

    one_by_one: bool
    takes_new_images: bool
    replays_graph: bool

    def preload(self) -> None:
        """Import the modules that `load` needs, before memory is measured; start no thread."""

    def name_kernels(self) -> None:
        """Give names to kernels that are compiled later. Called before a profile."""

    def load(
        self, model: nn.Module, example: Sequence[Tensor], precision: str
    ) -> Callable[[], object]:
        """Return a function that calls `model(*example)`, with the same tensors each time.

        `example` is one image tensor (N, C, H, W), or what the user's `example_inputs` returns.
        `model` and `example` are already on the device, in the type of `precision`; the switches
        of the precision are set. Compilation and capture happen here. An exception becomes a
        Failure of the case at the stage `load`.
        """

    def missing(self, torch_device: str) -> str | None:
        """Return what this machine lacks for the backend, with the remedy; None if nothing."""


def about(backend: Backend) -> str:
    """Return the first line of the module's docstring, for `bench list backends`."""
    return (backend.__doc__ or "").partition("\n")[0]


_PYTORCH_ONLY = "There is no such backend: all backends run PyTorch. `bench list backends`."
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["inductor", "torchcompile", "torch.compile"], "That is `compile`."),
    **dict.fromkeys(["pytorch", "torch"], "PyTorch's eager mode is `eager`."),
    **dict.fromkeys(["nhwc"], "That is `channels_last`."),
    **dict.fromkeys(["cudagraphs", "cuda_graph", "graph"], "That is `cudagraph`."),
    **dict.fromkeys(
        [
            *("tensorrt", "trt", "onnx", "onnxruntime", "ort", "openvino", "executorch", "tflite"),
            *("ncnn", "mnn", "tvm", "coreml", "aotinductor", "torchscript", "jit"),
        ],
        _PYTORCH_ONLY,
    ),
}

BACKENDS: dict[str, Backend] = {
    "eager": eager,
    "channels_last": channels_last,
    "compile": compiled,
    "cudagraph": cudagraph,
}

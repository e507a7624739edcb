"""The table of backends, by the name for `--backend`. Each backend is a class in its own file."""

from __future__ import annotations

from bench.backends.backend import Backend, about
from bench.backends.channels_last import ChannelsLast
from bench.backends.compiled import Compiled
from bench.backends.cudagraph import CudaGraph
from bench.backends.eager import Eager
from bench.backends.onnxruntime import OnnxRuntime
from bench.backends.openvino import OpenVino

__all__ = ["BACKENDS", "Backend", "about", "exported_by"]

_NOT_YET = (
    "bench cannot execute networks with it; it can with ONNX Runtime and OpenVINO: `onnxruntime`, "
    "`openvino`."
)
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["inductor", "torchcompile", "torch.compile"], "That is `compile`."),
    **dict.fromkeys(["pytorch", "torch"], "PyTorch's eager mode is `eager`."),
    **dict.fromkeys(["nhwc"], "That is `channels_last`."),
    **dict.fromkeys(["cudagraphs", "cuda_graph", "graph"], "That is `cudagraph`."),
    **dict.fromkeys(["onnx", "ort", "onnx_runtime"], "That is `onnxruntime`."),
    **dict.fromkeys(["ov", "ir"], "That is `openvino`."),
    **dict.fromkeys(
        [
            *("tensorrt", "trt", "executorch", "tflite", "ncnn", "mnn", "tvm"),
            *("coreml", "aotinductor", "torchscript", "jit"),
        ],
        _NOT_YET,
    ),
}

BACKENDS: dict[str, Backend] = {
    "eager": Eager(),
    "channels_last": ChannelsLast(),
    "compile": Compiled(),
    "cudagraph": CudaGraph(),
    "onnxruntime": OnnxRuntime(),
    "openvino": OpenVino(),
}


def exported_by() -> dict[str, str]:
    """Map each kind of file that can be exported to the name of the backend that executes it."""
    return {backend.file_kind: name for name, backend in BACKENDS.items() if backend.file_kind}

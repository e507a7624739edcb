"""The table of backends, by the name for `--backend`. Each backend is a class in its own file."""

from __future__ import annotations

from bench.backends.aotinductor import AotInductor
from bench.backends.backend import Backend, about
from bench.backends.channels_last import ChannelsLast
from bench.backends.compiled import Compiled
from bench.backends.cudagraph import CudaGraph
from bench.backends.eager import Eager
from bench.backends.executorch import ExecuTorch
from bench.backends.onnxruntime import OnnxRuntime
from bench.backends.openvino import OpenVino
from bench.backends.tensorrt import TensorRt

__all__ = ["BACKENDS", "Backend", "about", "exported_by"]

_NOT_YET = (
    "bench cannot execute networks with it; it can with `onnxruntime`, `openvino`, `aotinductor`, "
    "`executorch` and `tensorrt`."
)
KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["inductor", "torchcompile", "torch.compile"], "That is `compile`."),
    **dict.fromkeys(["pytorch", "torch"], "PyTorch's eager mode is `eager`."),
    **dict.fromkeys(["nhwc"], "That is `channels_last`."),
    **dict.fromkeys(["cudagraphs", "cuda_graph", "graph"], "That is `cudagraph`."),
    **dict.fromkeys(["onnx", "ort", "onnx_runtime"], "That is `onnxruntime`."),
    **dict.fromkeys(["ov", "ir"], "That is `openvino`."),
    **dict.fromkeys(["aoti", "pt2", "aot_inductor"], "That is `aotinductor`."),
    **dict.fromkeys(["et", "pte", "xnnpack"], "That is `executorch`."),
    **dict.fromkeys(["trt", "trtexec", "engine"], "That is `tensorrt`."),
    **dict.fromkeys(
        [
            *("tflite", "ncnn", "mnn", "tvm"),
            *("coreml", "torchscript", "jit"),
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
    "aotinductor": AotInductor(),
    "executorch": ExecuTorch(),
    "tensorrt": TensorRt(),
}


def exported_by() -> dict[str, str]:
    """Map each kind of file that can be exported to the name of the backend that executes it."""
    return {backend.file_kind: name for name, backend in BACKENDS.items() if backend.file_kind}

"""TensorRT: it executes an engine that it builds of an ONNX file. `--backend tensorrt`.

Written from the documentation of TensorRT 10 and 11, and tested on a stand-in: docs.nvidia.com,
"Python API Documentation", "Engine Inspector", "Migrating from TensorRT 10.x to 11.x".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import structs

from bench.backends import artifacts, onnx_file, packages
from bench.backends.backend import FP32, Call, WrongEngineError
from bench.backends.of_onnx import OfOnnx
from bench.backends.program import ExportError
from bench.backends.runtime import (
    Engine,
    RuntimeProfile,
    check_bindable,
    check_shapes,
    described,
    empty,
)
from bench.backends.streams import own_stream
from bench.devices import clocks
from bench.devices.sensors.tegra import Board
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor

TF32 = "tf32"
HAS = (FP32, TF32, "fp16")  # the types are those of the ONNX file: networks are strongly typed
# TensorRT's names of types: torch's
TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8"}
TYPES |= {"UINT8": "uint8", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}
# In the description of a value of a layer, as `Row major linear FP32`: ONNX's names of types
DESCRIBED = {
    "float": r"FP32|\bfloat\b",
    "float16": r"(?<!B)FP16|half|(?<!b)float16",
    "bfloat16": r"BF16|bfloat16",
    "int8": r"(?<!u)int8",
    "uint8": r"uint8",
    "float8": r"FP8",
    "int32": r"int32",
    "int64": r"int64",
    "bool": r"bool",
}
FORMATS = ("Datatype", "DataType", "Format/Datatype")  # of TensorRT 11, and 10
DISTRIBUTIONS = ("tensorrt", "tensorrt_cu13", "tensorrt_cu12")
FROM_JETPACK = "sudo apt install python3-libnvinfer, and an environment with --system-site-packages"


class TensorRt(OfOnnx):
    """TensorRT on an NVIDIA GPU, from an engine that it builds of an ONNX file."""

    file_kind = "engine"
    file_ends = (".engine", ".json")  # an engine has no place for a passport
    oldest: ClassVar[Mapping[str, str]] = {"tensorrt": "10.0", **onnx_file.PACKAGES}

    def open(self, artifact: Artifact, example: Sequence[Tensor], precision: str) -> Call:
        """Load the engine, bound to the tensors of the example in the order of the ONNX file."""
        graph = onnx_file.parse(artifacts.named(artifact.onnx)).graph
        names = ([each.name for each in values] for values in (graph.input, graph.output))
        return Plan(artifacts.content_of(artifact), example, precision, *names)

    def stored(self, of_onnx: artifacts.Stored, precision: str) -> artifacts.Stored:
        """Return the engine of the ONNX file, built now unless the same one is there.

        An engine is for one kind of GPU and one version of TensorRT.
        """
        made_by = [*self.versions().values(), artifacts.hash_of_file(__file__), _gpu()]
        made_by.append(TF32 * (precision == TF32))
        key = artifacts.key_of_converted(of_onnx, made_by)
        found = artifacts.stored(key)
        if found is None:
            content = built(of_onnx.content, allows_tf32=precision == TF32)
            found = artifacts.store(key, lambda path: path.write_bytes(content))
        return found

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return the engine as it is, and the passport as JSON."""
        return [content, msgspec.json.encode(passport)]

    def profile(self, call: Call, artifact: Artifact) -> RuntimeProfile | None:
        """Return nothing: torch's profiler shows the kernels of a GPU."""
        return None

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions of TensorRT, in whichever package it is, and of what exports."""
        found = next(filter(None, map(packages.version, DISTRIBUTIONS)), None)
        return {**({"tensorrt": found} if found else {}), **super().versions(precision)}

    def preload(self) -> None:
        """Import TensorRT."""
        import tensorrt  # noqa: F401

    def missing(self, torch_device: str) -> str | None:
        """Check for a GPU, and for the packages; on a Jetson, TensorRT comes with JetPack."""
        if torch_device != "cuda":
            return "TensorRT needs an NVIDIA GPU: --device cuda"
        lack = super().missing(torch_device)
        if lack and "tensorrt" in lack and Board().is_jetson():
            return f"no tensorrt of JetPack: {FROM_JETPACK}"
        return lack

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """Bench builds engines of networks in float32 and float16."""
        return None if precision in HAS else f"bench builds no engines in {precision}"


def built(of_onnx: bytes, *, allows_tf32: bool) -> bytes:
    """Return the engine of an ONNX file for this GPU. Raises ExportError with TensorRT's reason.

    In TensorRT 10, strong typing is a flag of the network; 11 has nothing else.
    """
    import tensorrt

    log = _log()
    builder = tensorrt.Builder(log)
    typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(of_onnx):
        errors = [str(parser.get_error(place)) for place in range(parser.num_errors)]
        raise ExportError(f"TensorRT does not read the ONNX file: {'; '.join(errors)}")
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # else layers have no types
    switch = config.set_flag if allows_tf32 else config.clear_flag
    switch(tensorrt.BuilderFlag.TF32)  # TensorRT allows it by default
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise ExportError("TensorRT cannot build an engine of the network; stderr says why")
    return bytes(content)


def _log() -> Any:
    import tensorrt

    return tensorrt.Logger(tensorrt.Logger.ERROR)


def _gpu() -> str:
    """Return what an engine is built for: name and compute capability of the GPU."""
    import torch

    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    return f"{torch.cuda.get_device_name()} {capability}"


class Plan(Engine):
    """An engine of TensorRT, bound to the tensors of the example."""

    def __init__(
        self,
        content: bytes,
        example: Sequence[Tensor],
        precision: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        import tensorrt

        super().__init__(example, precision)
        self._stream = own_stream()
        began = clocks.monotonic()
        self._runtime = tensorrt.Runtime(_log())
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise WrongEngineError("TensorRT cannot read its engine: another version built it")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MemoryError("TensorRT has not enough memory to execute the engine")
        self.load_s = clocks.monotonic() - began
        self._inputs = {each: self._value(each) for each in inputs}
        self._outputs = {each: self._value(each) for each in outputs}
        check_shapes([shape for _, shape in self._inputs.values()], example)
        self._answers = [
            empty(name, shape, dtype, self.device) for name, (dtype, shape) in self._outputs.items()
        ]
        for name, tensor in (
            *zip(self._inputs, example, strict=True),
            *zip(self._outputs, self._answers, strict=True),
        ):
            check_bindable(name, tensor, self._value(name)[0])
            self._context.set_tensor_address(name, tensor.data_ptr())

    def __call__(self) -> list[Tensor]:
        """Queue a call on our stream; return the outputs, which the next call overwrites."""
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError("TensorRT could not execute the engine; stderr says why")
        return self._answers

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with the layers that the engine has.

        Raises WrongEngineError where a layer computes in fewer bits than asked, or where a GELU of
        the ONNX file has another formula than the network's. Which formula a fused layer computes,
        TensorRT does not say.
        """
        import tensorrt

        inspector = self._engine.create_engine_inspector()
        text = inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON)
        layers = json.loads(text)["Layers"]
        if not all(isinstance(each, dict) for each in layers):
            raise WrongEngineError("the engine does not say in which types its layers compute")
        types = sorted({kind for each in layers for kind in _types(each)})
        own = [dtype for dtype, _ in (*self._inputs.values(), *self._outputs.values())]
        self.check_types(types, own)
        of_file = onnx_file.gelus(onnx_file.parse(artifacts.named(artifact.onnx)))
        self.check_gelus([of_file], gelus)
        return structs.replace(
            artifact,
            operators=dict(Counter(str(each.get("LayerType")) for each in layers).most_common()),
            providers={"TensorRT": len(layers)},
            types=self.shown(types),
            gelus=of_file,
            inputs={name: described(*value) for name, value in self._inputs.items()},
            outputs={name: described(*value) for name, value in self._outputs.items()},
            session_s=self.load_s,
        )

    def _value(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return torch's name of the type of an input or output, and its shape."""
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in TYPES:
            raise WrongEngineError(f"{name} has the type {kind}, which torch does not have")
        shape = tuple(self._engine.get_tensor_shape(name))
        if min(shape, default=1) < 0:
            raise WrongEngineError(f"the shape of {name} depends on the image")
        return TYPES[kind], shape


def _types(layer: Mapping[str, Any]) -> Iterator[str]:
    """Yield ONNX's names of the types of a layer's values, or TensorRT's words for another type."""
    for value in (*layer.get("Inputs", []), *layer.get("Outputs", [])):
        words = next((str(value[each]) for each in FORMATS if each in value), "")
        known = [name for name, each in DESCRIBED.items() if re.search(each, words, re.IGNORECASE)]
        yield known[0] if known else words or "no type"

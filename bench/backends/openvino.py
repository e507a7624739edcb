"""OpenVINO: it executes the network from its own file, on a CPU. `--backend openvino`.

Source: docs.openvino.ai, "CPU Device" and "Performance Hints and Thread Scheduling".
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from msgspec import structs

from bench.backends import artifacts, ir_file, onnx_file, packages
from bench.backends.backend import FP32, WrongEngineError
from bench.backends.integers import in_onnx
from bench.backends.of_onnx import OfOnnx
from bench.backends.runtime import (
    Engine,
    NodeTime,
    Profiler,
    check_bindable,
    check_shapes,
    described,
    empty,
)
from bench.devices import clocks
from bench.devices.precision import is_quantised
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor

DEVICE = "CPU"
# OpenVINO's names of the types that a value can have: torch's names, and ONNX's
TYPES = {
    "f64": ("float64", "double"),
    "f32": ("float32", "float"),
    "f16": ("float16", "float16"),
    "bf16": ("bfloat16", "bfloat16"),
    "i8": ("int8", "int8"),
    "u8": ("uint8", "uint8"),
    "i16": ("int16", "int16"),
    "i32": ("int32", "int32"),
    "i64": ("int64", "int64"),
    "u16": ("uint16", "uint16"),
    "u32": ("uint32", "uint32"),
    "u64": ("uint64", "uint64"),
    "boolean": ("bool", "bool"),
}
NO_TYPE = ("undefined", "dynamic")  # of nodes that compute nothing
# Types of what is not in integers; without one, OpenVINO takes bfloat16 where the CPU has it.
HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"fp32": "FP32", "int8": "INT8", "bf16": "BF16", "fp16": "FP16"}
INTEGERS = ("i8", "u8")
PRODUCTS = ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")
NO_WORK = ("Const", "Input", "Output")  # nodes of the executed graph that compute nothing


class OpenVino(OfOnnx):
    """OpenVINO on a CPU, from its IR, which it converts from an ONNX file that torch exports."""

    file_kind = "openvino"
    file_ends = (".xml", ".bin")
    on_cpu = "openvino"
    oldest: ClassVar[Mapping[str, str]] = {"openvino": "2025.0", **onnx_file.PACKAGES}

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Compile the IR for one stream. Its threads sleep soon after a call, without a setting."""
        return CompiledNetwork(content, example, precision)

    def stored(self, of_onnx: artifacts.Stored, precision: str) -> artifacts.Stored:
        """Return the IR of the ONNX file, converted now unless the same one is there."""
        made_by = [str(packages.version("openvino")), artifacts.hash_of_file(ir_file.__file__)]
        key = artifacts.key_of_converted(of_onnx, made_by)
        found = artifacts.stored(key)
        if found is None:
            content = self.converted(of_onnx.content)
            found = artifacts.store(key, lambda path: path.write_bytes(content))
        return found

    def converted(self, of_onnx: bytes) -> bytes:
        """Return the IR of an ONNX file."""
        return ir_file.converted(of_onnx)

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return XML and weights, with the passport in the `rt_info` of the XML."""
        return ir_file.with_passport(content, passport)

    def given(self, precision: str) -> str:
        """OpenVINO is given weights and images in float32, and reduces them itself."""
        return FP32

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """Ask OpenVINO in which types this CPU computes; in others, it would compute in float32."""
        if precision == FP32 or self.missing(torch_device):
            return None
        has = ir_file.core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        if CAPABILITIES.get(precision) not in has:
            return f"OpenVINO does not compute in {precision} on this CPU"
        return in_onnx.lacking() if is_quantised(precision) else None

    def preload(self) -> None:
        """Import OpenVINO. It creates nothing: after a fork, it would compute on one thread."""
        ir_file.module()


class CompiledNetwork(Engine):
    """A network that OpenVINO has compiled, bound to the tensors of the example."""

    def __init__(
        self, content: bytes, example: Sequence[Tensor], precision: str, *, counts: bool = False
    ) -> None:
        import torch

        super().__init__(example, precision)
        began = clocks.monotonic()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,  # as many threads as asked for, also on one core
            "SCHEDULING_CORE_TYPE": "ANY_CORE",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERF_COUNT": counts,
        }
        self._compiled = ir_file.core().compile_model(ir_file.read(content), DEVICE, settings)
        self.load_s = clocks.monotonic() - began
        self._request = self._compiled.create_infer_request()
        self._outputs = [
            empty(_name(each), _shape(each), _type(each), "cpu") for each in self._compiled.outputs
        ]
        self._bind()

    def __call__(self) -> list[Tensor]:
        """Run the request; return the output tensors, which the next call overwrites."""
        self._request.infer(share_outputs=True)
        return self._outputs

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with the nodes that the compiled network executes.

        Raises WrongEngineError where a node computes in fewer bits than asked, or where a GELU of
        the file is another one than the network's. Which formula a GELU has that was fused with
        another operator, OpenVINO does not say.
        """
        model = ir_file.read(artifacts.content_of(artifact))
        nodes = self._nodes()
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        if devices != [DEVICE]:
            raise WrongEngineError(f"the network runs on {', '.join(devices)} instead of {DEVICE}")
        inputs, outputs = self._compiled.inputs, self._compiled.outputs
        types = sorted({_onnx_type(each.precision) for each in nodes} - set(NO_TYPE))
        own = {_type(each) for each in (*inputs, *outputs)}
        kinds = [node.get_type_name() for node in model.get_ops()]
        if any(_has_booleans(node) for node in model.get_ops()):
            own.add("uint8")  # in which OpenVINO computes with booleans
        self.check_types(types, sorted(own))
        artifact = self.check_integers(artifact, sum(map(_is_in_integers, nodes)))
        of_file = ir_file.gelus(model)
        self.check_gelus([of_file], gelus)
        operators = Counter(each.operator for each in nodes)
        return structs.replace(
            artifact,
            operators=dict(operators.most_common()),
            fused={name: count for name, count in operators.items() if name not in kinds},
            providers={DEVICE: len(nodes)},
            types=self.shown(types),
            gelus=of_file,
            inputs={_name(each): described(_type(each), _shape(each)) for each in inputs},
            outputs={_name(each): described(_type(each), _shape(each)) for each in outputs},
            session_s=self.load_s,
        )

    def profiler(self, content: bytes) -> Profiler:
        """Compile the file again, with counters."""
        return Counters(CompiledNetwork(content, self._example, self._precision, counts=True))

    def counted(self) -> list[NodeTime]:
        """Return the nodes with their mean seconds over all calls, where counters are on.

        The counters have whole microseconds. They also list nodes that are part of another one.
        """
        return [
            NodeTime(each.node_name, each.node_type, each.real_time.total_seconds())
            for each in self._request.profiling_info
            if each.node_name in self._names
        ]

    @functools.cached_property
    def _names(self) -> set[str]:
        """The names of the nodes that compute."""
        return {each.name for each in self._nodes()}

    def _nodes(self) -> list[Node]:
        """Return the nodes that compute."""
        everything = map(_executed, self._compiled.get_runtime_model().get_ordered_ops())
        return [each for each in everything if each.operator not in NO_WORK]

    def _bind(self) -> None:
        """Let the request read the tensors of the example, and write our tensors of outputs."""
        check_shapes([_shape(each) for each in self._compiled.inputs], self._example)
        for index, port in enumerate(self._compiled.inputs):
            check_bindable(_name(port), self._example[index], _type(port))
            self._request.set_input_tensor(index, _shared(self._example[index]))
        for index, tensor in enumerate(self._outputs):
            self._request.set_output_tensor(index, _shared(tensor))


class Counters(Profiler):
    """The counters of OpenVINO: for each node, the mean over all calls since it was compiled."""

    def __init__(self, network: CompiledNetwork) -> None:
        self._network = network
        self._calls = self._counted = 0
        self._seconds: dict[str, float] = defaultdict(float)  # by node, in calls that count
        self._on = False

    def __call__(self) -> object:
        """Execute the network once."""
        self._calls += 1
        return self._network()

    def count(self, *, on: bool) -> None:
        """Read the counters, whose sums then change only by the calls that count."""
        if on != self._on:
            sign, self._on = (-1 if on else 1), on
            self._counted += sign * self._calls
            for node in self._network.counted():
                self._seconds[node.name] += sign * self._calls * node.seconds

    def end(self) -> list[NodeTime]:
        """Return the nodes with their mean seconds in the calls that count."""
        self.count(on=False)
        return [
            node._replace(seconds=max(self._seconds[node.name] / self._counted, 0.0))
            for node in self._network.counted()
        ]


class Node(NamedTuple):
    """A node of the executed graph: name, operator, and the type in which it computes."""

    name: str
    operator: str
    precision: str


def _executed(node: Any) -> Node:
    info = node.get_rt_info()
    kind, precision = (str(info[name].value) for name in ("layerType", "runtimePrecision"))
    return Node(str(node.get_friendly_name()), kind, precision)


def _is_in_integers(node: Node) -> bool:
    """Whether a node is a product of integers: others may only pass them on."""
    return node.precision in INTEGERS and node.operator in PRODUCTS


def _has_booleans(node: Any) -> bool:
    return any(each.get_element_type().get_type_name() == "boolean" for each in node.outputs())


def _onnx_type(name: str) -> str:
    return TYPES[name][1] if name in TYPES else name


def _name(port: Any) -> str:
    return str(port.get_any_name())


def _type(port: Any) -> str:
    """Return torch's name of the type of an input or output."""
    name = str(port.get_element_type().get_type_name())
    if name not in TYPES:
        raise WrongEngineError(f"{_name(port)} has the type {name}, which torch does not have")
    return TYPES[name][0]


def _shape(port: Any) -> tuple[int, ...]:
    """Return the shape of an input or output. Raises WrongEngineError if it is not fixed."""
    if port.partial_shape.is_dynamic:
        raise WrongEngineError(f"the shape of {_name(port)} depends on the image")
    return tuple(port.shape)


def _shared(tensor: Tensor) -> Any:
    """Return an OpenVINO tensor in the memory of a torch tensor."""
    return ir_file.module().Tensor(tensor.numpy(), shared_memory=True)

"""ONNX Runtime: it executes the network from an ONNX file. `--backend onnxruntime`."""

from __future__ import annotations

import contextlib
import json
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import structs

from bench.backends import artifacts, onnx_file, packages
from bench.backends.backend import FP32, WrongEngineError
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
from bench.backends.streams import own_stream
from bench.devices import clocks
from bench.devices.installation import pip_install
from bench.records import Artifact, Gelus
from bench.storage import lock

if TYPE_CHECKING:
    from torch import Tensor

GPU_PACKAGE = "onnxruntime-gpu"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# What a provider's kernels of another device may do: copy, and compute with shapes.
OF_ANY_PROVIDER = ("MemcpyToHost", "MemcpyFromHost", "Shape", "Constant")
ERRORS_ONLY = 3  # of the log
KERNEL, MICRO = "_kernel_time", 1e-6  # of a profile: the end of a node's name, and its unit
REORDERED = "_nchwc"  # the end of the name of a node whose images have another memory order
# ONNX's names of types that a value can have: torch's names, and ONNX's numbers of them
TYPES = {
    "tensor(float)": ("float32", 1),
    "tensor(uint8)": ("uint8", 2),
    "tensor(int8)": ("int8", 3),
    "tensor(int16)": ("int16", 5),
    "tensor(int32)": ("int32", 6),
    "tensor(int64)": ("int64", 7),
    "tensor(bool)": ("bool", 9),
    "tensor(float16)": ("float16", 10),
    "tensor(double)": ("float64", 11),
    "tensor(bfloat16)": ("bfloat16", 16),
}
IN_INTEGERS = re.compile(r"QLinear(Conv|MatMul)|QGemm|(Conv|MatMul)Integer\w*")  # products
SHOWN = 3  # kinds of nodes in a message
OF_CPU, OF_CUDA = ("fp32", "int8"), ("fp32", "tf32", "fp16")  # precisions of the kernels


class OnnxRuntime(OfOnnx):
    """ONNX Runtime, from an ONNX file that torch exports."""

    file_kind = "onnx"
    file_ends = (".onnx",)
    oldest: ClassVar[Mapping[str, str]] = {"onnxruntime": "1.20", **onnx_file.PACKAGES}

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Create a session of the file, whose threads stop to wait actively when a call ends."""
        return Session(content, example, precision)

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return the ONNX file with the passport in its metadata."""
        return [onnx_file.with_passport(content, passport)]

    def preload(self) -> None:
        """Import ONNX Runtime. It creates no session: one made before a fork has no threads."""
        import onnxruntime  # noqa: F401

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions of the runtime, in whichever package it is, and of the others."""
        of_gpu = packages.version(GPU_PACKAGE)
        return {**({"onnxruntime": of_gpu} if of_gpu else {}), **super().versions(precision)}

    def missing(self, torch_device: str) -> str | None:
        """Check for the packages, for the provider of a GPU, and for a torch that exports."""
        lack = super().missing(torch_device)
        lack = lack or packages.too_old(GPU_PACKAGE, self.oldest["onnxruntime"])
        if lack or torch_device != "cuda":
            return lack
        if packages.version(GPU_PACKAGE) and not packages.version("onnxruntime"):
            return None
        both = f"onnxruntime {GPU_PACKAGE}"  # they write the same files
        remedy = f"pip uninstall {both} && {pip_install()} {GPU_PACKAGE}"
        return f"this onnxruntime has no CUDA: {remedy}"

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """On a CPU, ONNX Runtime computes float16 in float32, and it has no bfloat16 kernels."""
        has = OF_CPU if torch_device == "cpu" else OF_CUDA
        if precision in has:
            return None
        return f"onnxruntime has no {precision} kernels for networks on this device"


class Session(Engine):
    """A session of ONNX Runtime, bound to the tensors of the example."""

    def __init__(self, content: bytes, example: Sequence[Tensor], precision: str) -> None:
        import torch

        super().__init__(example, precision)
        self._stream = own_stream() if self.device == "cuda" else None
        began = clocks.monotonic()
        self._session = self._new_session(content, self._options(torch.get_num_threads()))
        self.load_s = clocks.monotonic() - began
        self._outputs = [
            empty(each.name, each.shape, _type(each)[0], self.device)
            for each in self._session.get_outputs()
        ]
        self._binding = self._bind(self._session)

    def __call__(self) -> list[Tensor]:
        """Run the session; return the output tensors, which the next call overwrites."""
        self._session.run_with_iobinding(self._binding)
        return self._outputs

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with what a session of the same options executes.

        Raises WrongEngineError where a node runs on another provider or in fewer bits than asked,
        or where a GELU is another one than the network's.
        """
        content = artifacts.content_of(artifact)
        with lock.scratch() as scratch:
            optimised, profiled = self._profiled(content, scratch)
        nodes = [each for each in profiled if each["name"].endswith(KERNEL)]
        types = sorted({kind for each in nodes for kind in _types(each)})
        in_file, run = onnx_file.parse(content), onnx_file.parse(optimised)
        self._check_providers(nodes)
        artifact = self.check_integers(artifact, sum(map(_is_in_integers, nodes)))
        values = [*self._session.get_inputs(), *self._session.get_outputs()]
        self.check_types(types, [_type(each)[0] for each in values])
        executed = onnx_file.gelus(run)
        self.check_gelus([onnx_file.gelus(in_file), executed], gelus)
        own, operators = onnx_file.operators(in_file), onnx_file.operators(run)
        level = self._session.get_session_options().graph_optimization_level
        return structs.replace(
            artifact,
            operators=dict(operators.most_common()),
            fused={name: count for name, count in operators.items() if name not in own},
            providers=dict(Counter(str(each["args"]["provider"]) for each in nodes)),
            types=self.shown(types),
            gelus=executed,
            inputs={each.name: _shape(each) for each in self._session.get_inputs()},
            outputs={each.name: _shape(each) for each in self._session.get_outputs()},
            optimisation=str(level).rpartition(".")[2].removeprefix("ORT_").lower(),
            session_s=self.load_s,
        )

    def profiler(self, content: bytes) -> Profiler:
        """Create a session of the same file that writes a profile."""
        return SessionProfile(self, content)

    def _options(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _new_session(self, content: bytes, options: Any) -> Any:
        """Return a session on the provider of the device. Raises WrongEngineError for another."""
        import onnxruntime

        wanted, settings = PROVIDERS[self.device], dict[str, object]()
        if self._stream is not None:
            settings = {
                "device_id": self._stream.device.index or 0,
                "use_tf32": int(self._precision == "tf32"),
                "user_compute_stream": str(self._stream.cuda_stream),
            }
        session = onnxruntime.InferenceSession(
            content, options, providers=[wanted], provider_options=[settings]
        )
        session.disable_fallback()
        if (found := session.get_providers()[0]) != wanted:
            raise WrongEngineError(f"the session runs on {found} instead of {wanted}")
        return session

    def _bind(self, session: Any) -> Any:
        """Return a binding of a session to the tensors of inputs and outputs."""
        inputs = session.get_inputs()
        check_shapes([each.shape for each in inputs], self._example)
        binding = session.io_binding()
        for each, tensor in zip(inputs, self._example, strict=True):
            binding.bind_input(each.name, *_place(tensor, each))
        for each, tensor in zip(session.get_outputs(), self._outputs, strict=True):
            binding.bind_output(each.name, *_place(tensor, each))
        return binding

    def _profiled(self, content: bytes, scratch: Path) -> tuple[bytes, list[dict[str, Any]]]:
        """Run a session once; return the optimised graph, and the events of its nodes."""
        optimised = scratch / "optimised.onnx"
        session, binding = self.profiling(content, scratch, optimized_model_filepath=str(optimised))
        session.run_with_iobinding(binding)
        events = json.loads(Path(session.end_profiling()).read_text())
        return optimised.read_bytes(), [each for each in events if each.get("cat") == "Node"]

    def profiling(self, content: bytes, folder: Path, **settings: str) -> tuple[Any, Any]:
        """Return a session that writes a profile into a folder, and its binding."""
        import torch

        options = self._options(torch.get_num_threads())
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        for name, value in settings.items():
            setattr(options, name, value)
        session = self._new_session(content, options)
        return session, self._bind(session)

    def _check_providers(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        wanted = PROVIDERS[self.device]
        strange = Counter(
            f"{each['args']['op_name']} on {each['args']['provider']}"
            for each in nodes
            if each["args"]["provider"] != wanted and each["args"]["op_name"] not in OF_ANY_PROVIDER
        )
        if strange:
            raise WrongEngineError(f"not all nodes run on {wanted}: {_counted(strange)}")


class SessionProfile(Profiler):
    """A session of ONNX Runtime that writes a profile of all calls."""

    def __init__(self, session: Session, content: bytes) -> None:
        self._proto = onnx_file.parse(content)
        self._closing = contextlib.ExitStack()
        folder = self._closing.enter_context(lock.scratch())
        self._session, self._binding = session.profiling(content, folder)
        self._counts: list[bool] = []  # of all calls, whether they count
        self._on = False

    def __call__(self) -> object:
        """Execute the network once."""
        self._counts.append(self._on)
        return self._session.run_with_iobinding(self._binding)

    def count(self, *, on: bool) -> None:
        """Let the calls from now on count, or not."""
        self._on = on

    def end(self) -> list[NodeTime]:
        """End the profile, and read it."""
        with self._closing:
            content = Path(self._session.end_profiling()).read_bytes()
        everything = msgspec.json.decode(content, type=list[_Event])
        nodes = sorted((each for each in everything if each.name.endswith(KERNEL)), key=_start)
        size = max(len(nodes) // len(self._counts), 1)
        calls = [nodes[at : at + size] for at in range(0, len(nodes), size)]
        names = {tuple(each.name for each in call) for call in calls}
        if len(calls) != len(self._counts) or len(names) != 1:
            raise WrongEngineError("the nodes in the profile of ONNX Runtime differ between calls")
        counted = [call for call, counts in zip(calls, self._counts, strict=True) if counts]
        return [
            NodeTime(
                self._name(same[0]),
                same[0].args["op_name"],
                MICRO * statistics.fmean(each.dur for each in same),
            )
            for same in zip(*counted, strict=True)
        ]

    def close(self) -> None:
        """Remove the folder of the profile."""
        self._closing.close()

    def _name(self, event: _Event) -> str:
        """Return the name in the file of a node.

        One with another memory order is named after the value that it computes, which may be that
        of an activation that it was fused with. It is then the node before that.
        """
        name = event.name.removesuffix(KERNEL)
        if not name.endswith(REORDERED):
            return name
        made_by = onnx_file.producers(self._proto)
        node = made_by.get(name.removesuffix(REORDERED))
        while node is not None and node.op_type != event.args["op_name"]:
            node = next((made_by[each] for each in node.input if each in made_by), None)
        return name if node is None else str(node.name)


class _Event(msgspec.Struct, frozen=True):
    """An event of a profile: times are in microseconds; a node has the name of its operator."""

    name: str
    ts: float
    dur: float = 0.0
    args: dict[str, Any] = {}


def _start(event: _Event) -> float:
    return event.ts


def _type(value: Any) -> tuple[str, int]:
    """Return torch's name of an input's or output's type, and ONNX's number of it."""
    if value.type not in TYPES:
        raise WrongEngineError(f"{value.name} has the type {value.type}, which torch does not have")
    return TYPES[value.type]


def _shape(value: Any) -> str:
    """Return type and shape of an input or output: `float32 1x3x224x224`."""
    return described(_type(value)[0], value.shape)


def _types(node: Mapping[str, Any]) -> set[str]:
    """Return the types of a node's inputs and outputs, as `float` or `float16`."""
    lists = [node["args"].get(name, []) for name in ("input_type_shape", "output_type_shape")]
    return {kind for each in lists for value in each for kind in value}


def _is_in_integers(node: Mapping[str, Any]) -> bool:
    """Whether a node is a product of integers: others may only pass them on."""
    return IN_INTEGERS.fullmatch(node["args"]["op_name"]) is not None


def _counted(names: Counter[str]) -> str:
    """Return the most frequent names with their counts."""
    return ", ".join(f"{name} ({count})" for name, count in names.most_common(SHOWN))


def _place(tensor: Tensor, value: Any) -> tuple[str, int, int, tuple[int, ...], int]:
    """Return device, its number, ONNX's number of the type, shape and address of a tensor."""
    wanted, number = _type(value)
    check_bindable(value.name, tensor, wanted)
    where = tensor.device
    return (where.type, where.index or 0, number, tuple(tensor.shape), tensor.data_ptr())

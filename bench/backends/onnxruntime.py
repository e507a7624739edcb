"""ONNX Runtime: it executes the network from an ONNX file. `--backend onnxruntime`."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

import bench
from bench.backends import artifacts, onnx_file
from bench.backends.backend import Backend, Call, WrongEngineError
from bench.devices import clocks
from bench.devices.installation import pip_install
from bench.devices.threads import read_threads
from bench.records import Artifact, Gelus
from bench.storage import lock
from bench.text import version_numbers

if TYPE_CHECKING:
    from torch import Tensor, nn

# The packages, and the oldest version of each; also in the extra of pyproject.toml
PACKAGES = {"onnxruntime": "1.20", "onnx": "1.17", "onnxscript": "0.3"}
OLDEST_TORCH = "2.6"  # its exporter with `dynamo=True` covers the networks of the paper
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# What a provider's kernels of another device may do: copy, and compute with shapes.
OF_ANY_PROVIDER = ("MemcpyToHost", "MemcpyFromHost", "Shape", "Constant")
ERRORS_ONLY = 3  # of the log
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
# The types in a profile that have fewer bits than float32, and those that may occur in a precision
REDUCED = ("float16", "bfloat16", "int8", "uint8")
SHOWN_TYPES = ("float", "double", *REDUCED)  # others are of shapes and indices
WANTED_TYPES: dict[str, Sequence[str]] = {"fp32": (), "tf32": (), "fp16": ("float16",)}
EXACT = ("fp32", "tf32")  # precisions in which a GELU of another formula is a wrong one
SHOWN = 3  # kinds of nodes in a message


class OnnxRuntime(Backend):
    """ONNX Runtime, from an ONNX file that torch exports."""

    exporters = (onnx_file.DYNAMO, onnx_file.TORCHSCRIPT)
    file_kind = "onnx"
    keeps_threads = True

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Export the network anew and open its file."""
        made = self.export(model, example, precision, self.exporters[0])
        return self.open(made, example, precision)

    def open(self, artifact: Artifact, example: Sequence[Tensor], precision: str) -> Call:
        """Create a session for the file, with as many threads as torch has, bound to `example`.

        The session's threads stop to wait actively when a call ends. The call returns the same
        output tensors each time.
        """
        return Engine(artifacts.content_of(artifact), example, precision)

    def export(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        exporter: str,
        identity: str = "",
    ) -> Artifact:
        """Export the network as ONNX for inputs of these shapes."""
        import torch

        made_by = [f"{name} {version}" for name, version in self.versions().items()]
        made_by += [f"torch {torch.__version__}", f"timm {_version('timm')}"]
        made_by += [
            f"bench {bench.__version__}",
            artifacts.hash_of_file(onnx_file.__file__),
            exporter,
            precision,
        ]
        key = artifacts.key_of(model, example, identity, made_by)
        found = artifacts.stored(key) or artifacts.store(
            key, lambda path: onnx_file.write(model, example, exporter, path)
        )
        return Artifact(
            file=found.name,
            file_hash=artifacts.hash_of(found.content),
            file_bytes=len(found.content),
            exporter=exporter,
            opset=onnx_file.opset(onnx_file.parse(found.content)),
        )

    def executed(self, call: Call, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Ask a second session, which profiles one call, for the nodes and their providers."""
        assert isinstance(call, Engine)
        return call.executed(artifact, gelus)

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> bytes:
        """Return the ONNX file with the passport in its metadata."""
        return onnx_file.with_passport(content, passport)

    def settings(self, call: Call) -> Mapping[str, str | int]:
        """Return the versions, and the threads of the session: those that it started, and ours."""
        assert isinstance(call, Engine)
        return {**self.versions(), "runtime_threads": call.threads}

    def preload(self) -> None:
        """Import ONNX Runtime. It creates no session: one made before a fork has no threads."""
        import onnxruntime  # noqa: F401

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the runtime and of the packages that export."""
        return {name: version for name in PACKAGES if (version := _version(name))}

    def missing(self, torch_device: str) -> str | None:
        """Check for the packages, for the provider of a GPU, and for a torch that exports."""
        if lacking := [name for name in PACKAGES if util.find_spec(name) is None]:
            return f"no {', '.join(lacking)}: {pip_install()} {' '.join(lacking)}"
        for name, oldest in {**PACKAGES, "torch": OLDEST_TORCH}.items():
            version = _version(name)
            if version and version_numbers(version) < version_numbers(oldest):
                return f"{name} {version} is too old: install {name} {oldest} or newer"
        if torch_device != "cuda" or (_installed(GPU_PACKAGE) and not _installed("onnxruntime")):
            return None
        both = f"onnxruntime {GPU_PACKAGE}"  # they write the same files
        remedy = f"pip uninstall {both} && {pip_install()} {GPU_PACKAGE}"
        return f"this onnxruntime has no CUDA: {remedy}"

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """On a CPU, ONNX Runtime computes float16 in float32, and it has no bfloat16 kernels."""
        if precision == "fp32" or (torch_device == "cuda" and precision in WANTED_TYPES):
            return None
        return f"onnxruntime has no {precision} kernels for networks on this device"


GPU_PACKAGE = "onnxruntime-gpu"


@functools.cache
def _installed(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _version(package: str) -> str | None:
    return _installed(package) or (_installed(GPU_PACKAGE) if package == "onnxruntime" else None)


class Engine:
    """A session whose inputs are the tensors of the example, and whose outputs are tensors, too."""

    def __init__(self, content: bytes, example: Sequence[Tensor], precision: str) -> None:
        import torch

        self._example = example
        self._precision = precision
        self._device = example[0].device.type if example else "cpu"
        self._stream = _own_stream() if self._device == "cuda" else None
        before = len(read_threads().seconds)
        began = clocks.monotonic()
        self._session = self._new_session(content, self._options(torch.get_num_threads()))
        self._session_s = clocks.monotonic() - began
        # The caller is one of the threads that compute.
        self.threads = 1 + len(read_threads().seconds) - before
        self._outputs = [_empty(each, self._device) for each in self._session.get_outputs()]
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
        nodes = [each for each in profiled if each["name"].endswith("_kernel_time")]
        types = sorted({kind for each in nodes for kind in _types(each) if kind in SHOWN_TYPES})
        in_file, run = onnx_file.parse(content), onnx_file.parse(optimised)
        self._check_providers(nodes)
        self._check_types(types)
        executed = onnx_file.gelus(run)
        self._check_gelus([onnx_file.gelus(in_file), executed], gelus)
        own, operators = onnx_file.operators(in_file), onnx_file.operators(run)
        level = self._session.get_session_options().graph_optimization_level
        return structs.replace(
            artifact,
            operators=dict(operators.most_common()),
            fused={name: count for name, count in operators.items() if name not in own},
            providers=dict(Counter(str(each["args"]["provider"]) for each in nodes)),
            types=types,
            gelus=executed,
            inputs={each.name: _shape(each) for each in self._session.get_inputs()},
            outputs={each.name: _shape(each) for each in self._session.get_outputs()},
            optimisation=str(level).rpartition(".")[2].removeprefix("ORT_").lower(),
            session_s=self._session_s,
        )

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

        wanted, settings = PROVIDERS[self._device], dict[str, object]()
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
        shapes = [tuple(each.shape) for each in inputs]
        if shapes != [tuple(each.shape) for each in self._example]:
            raise WrongEngineError(f"the exported network takes inputs of shape {shapes}")
        binding = session.io_binding()
        for each, tensor in zip(inputs, self._example, strict=True):
            binding.bind_input(each.name, *_place(tensor, each))
        for each, tensor in zip(session.get_outputs(), self._outputs, strict=True):
            binding.bind_output(each.name, *_place(tensor, each))
        return binding

    def _profiled(self, content: bytes, scratch: Path) -> tuple[bytes, list[dict[str, Any]]]:
        """Run a session once; return the optimised graph, and the events of its nodes."""
        import torch

        options = self._options(torch.get_num_threads())
        options.optimized_model_filepath = str(scratch / "optimised.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(scratch / "profile")
        session = self._new_session(content, options)
        session.run_with_iobinding(self._bind(session))
        events = json.loads(Path(session.end_profiling()).read_text())
        optimised = (scratch / "optimised.onnx").read_bytes()
        return optimised, [each for each in events if each.get("cat") == "Node"]

    def _check_providers(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        wanted = PROVIDERS[self._device]
        strange = Counter(
            f"{each['args']['op_name']} on {each['args']['provider']}"
            for each in nodes
            if each["args"]["provider"] != wanted and each["args"]["op_name"] not in OF_ANY_PROVIDER
        )
        if strange:
            raise WrongEngineError(f"not all nodes run on {wanted}: {_counted(strange)}")

    def _check_types(self, types: Sequence[str]) -> None:
        """Raise WrongEngineError for a type of fewer bits that is not the precision's or ours."""
        values = [*self._session.get_inputs(), *self._session.get_outputs()]
        wanted = {*WANTED_TYPES[self._precision], *(_type(each)[0] for each in values)}
        if strange := [each for each in types if each in REDUCED and each not in wanted]:
            raise WrongEngineError(
                f"{self._precision} was asked for, and the runtime computes in {', '.join(strange)}"
            )

    def _check_gelus(self, found: Sequence[Gelus], of_network: Gelus | None) -> None:
        """Raise WrongEngineError where more GELUs have a formula than in the network."""
        if of_network is None or self._precision not in EXACT:
            return
        for formula in ("erf", "tanh"):
            count, own = max(getattr(each, formula) for each in found), getattr(of_network, formula)
            if count > own:
                what = f"{count} GELUs by {formula}"
                raise WrongEngineError(
                    f"the runtime computes {what}, and the network {own} of them"
                )


def _own_stream() -> Any:
    """Make a CUDA stream the current one of this process, and return it.

    ONNX Runtime takes the handle 0 of torch's default stream for no stream at all. It would then
    compute on a stream that does not wait for torch's copies.
    """
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    torch.cuda.set_stream(stream)
    return stream


def _type(value: Any) -> tuple[str, int]:
    """Return torch's name of an input's or output's type, and ONNX's number of it."""
    if value.type not in TYPES:
        raise WrongEngineError(f"{value.name} has the type {value.type}, which torch does not have")
    return TYPES[value.type]


def _shape(value: Any) -> str:
    """Return type and shape of an input or output: `float32 1x3x224x224`."""
    return f"{_type(value)[0]} {'x'.join(map(str, value.shape))}"


def _types(node: Mapping[str, Any]) -> set[str]:
    """Return the types of a node's inputs and outputs, as `float` or `float16`."""
    lists = [node["args"].get(name, []) for name in ("input_type_shape", "output_type_shape")]
    return {kind for each in lists for value in each for kind in value}


def _counted(names: Counter[str]) -> str:
    """Return the most frequent names with their counts."""
    return ", ".join(f"{name} ({count})" for name, count in names.most_common(SHOWN))


def _place(tensor: Tensor, value: Any) -> tuple[str, int, int, tuple[int, ...], int]:
    """Return device, its number, ONNX's number of the type, shape and address of a tensor."""
    wanted, number = _type(value)
    if str(tensor.dtype) != f"torch.{wanted}" or not tensor.is_contiguous():
        raise WrongEngineError(f"{value.name} must be {wanted} without gaps between its rows")
    where = tensor.device
    return (where.type, where.index or 0, number, tuple(tensor.shape), tensor.data_ptr())


def _empty(output: Any, device: str) -> Tensor:
    """Return a tensor for an output of the session."""
    import torch

    kind = getattr(torch, _type(output)[0])
    if not all(isinstance(size, int) for size in output.shape):
        raise WrongEngineError(f"the shape of the output {output.name} depends on the image")
    return torch.empty(output.shape, dtype=kind, device=device)

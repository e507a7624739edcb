"""ONNX files that compute in 8-bit integers, made by ONNX Runtime's tools, and checked.

Each quantised value passes a `QuantizeLinear` and a `DequantizeLinear`; a runtime computes between
them in integers. Source: onnxruntime.ai, "Quantize ONNX models".
"""

from __future__ import annotations

import contextlib
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.backends import artifacts, onnx_file, packages
from bench.backends.backend import Calibration, Call
from bench.backends.program import ExportError
from bench.records import Quantised
from bench.storage import lock

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TOOL, OLDEST = "onnxruntime", "1.20"  # the package that quantises
QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
# Ends of names in the file: of a quantised weight, and of an input of the network
WEIGHT_END, INPUT_END = "_quantized", "_QuantizeLinear_Input"
WITH_BIAS = ("Conv", "Gemm")
# What computes in integers, and what passes integers on. Additions are those of two activations.
OPERATORS = [
    *("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool"),
    *("GlobalAveragePool", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
]
X86 = ("x86_64", "AMD64")
# A range that is too small or too large by a large factor leaves less.
LEAST_RATIO = 10.0  # signal / noise, as powers, of a value before and after it is quantised
ROUNDING = 0.5001  # of a step: the largest error of a weight
CHECKED_CALLS = 4
TOGETHER = 16  # activations of one image: those that are checked together are in memory at once
WRONG = "the value {} is not that of the network after it was quantised: {}"


def lacking() -> str | None:
    """Return what is missing to quantise, with the remedy; None if nothing."""
    return packages.lacking({TOOL: OLDEST})


def versions() -> dict[str, str]:
    """Return the version of the tool, in whichever package it is; {} if it is missing."""
    found = packages.version(TOOL) or packages.version(f"{TOOL}-gpu")
    return {TOOL: found} if found else {}


def stored(of_onnx: artifacts.Stored, calibration: Calibration) -> artifacts.Stored:
    """Return the file of a network in integers, made now unless the same one is there.

    Raises ExportError if a value of it is wrong.
    """
    made_by = [*versions().values(), str(packages.version("onnx"))]
    made_by += [artifacts.hash_of_file(__file__), str(weight_bits()), calibration.digest]
    key = artifacts.key_of_converted(of_onnx, made_by)
    return artifacts.stored(key) or artifacts.store(
        key, lambda path: path.write_bytes(quantised(of_onnx.content, calibration.calls))
    )


def described(calibration: Calibration) -> Quantised:
    """Return what a record says of the file, before a runtime has executed it."""
    return Quantised(calibration.about, calibration.digest, weight_bits())


def weight_bits() -> int:
    """Return the bits of weights: 7 on an x86 CPU without VNNI, else 8.

    Without VNNI, the sum of two products of 8-bit values may not fit into 16 bits. Source:
    onnxruntime.ai, "Quantize ONNX models", about U8S8.
    """
    if platform.machine() not in X86:
        return 8
    with contextlib.suppress(OSError):
        return 8 if "vnni" in Path("/proc/cpuinfo").read_text() else 7
    return 7


def quantised(of_onnx: bytes, calls: Sequence[Sequence[Tensor]]) -> bytes:
    """Return the ONNX file with weights and activations in 8 bits.

    Weights have a scale by channel, and activations one that fits the values in `calls` (inputs of
    the network). Raises ExportError if a quantised value differs from its own value by too much.
    """
    quantization = _tool()
    kinds = quantization.QuantType
    with lock.scratch() as scratch:
        given, plain, made = (scratch / name for name in ("net.onnx", "plain.onnx", "made.onnx"))
        given.write_bytes(of_onnx)
        # It folds BatchNorms, as runtimes do. All shapes are known without symbols.
        quantization.quant_pre_process(str(given), str(plain), skip_symbolic_shape=True)
        network = _with_own_biases(onnx_file.parse(plain.read_bytes()))
        plain.write_bytes(network.SerializeToString())
        quantization.quantize_static(
            plain,
            made,
            _Reader(network, calls),
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            reduce_range=weight_bits() < 8,
            activation_type=kinds.QUInt8,
            weight_type=kinds.QInt8,
            nodes_to_exclude=_left_out(network),
        )
        of_integers = onnx_file.parse(made.read_bytes())
    del of_integers.metadata_props[:], of_integers.graph.value_info[:]  # of the tools alone
    check(of_integers, network, calls[:: max(len(calls) // CHECKED_CALLS, 1)])
    return bytes(of_integers.SerializeToString())


def _tool() -> Any:
    """Import what quantises. It imports modules of general names, from a folder of its own."""
    import onnxruntime

    known = list(sys.path)
    sys.path.insert(0, str(Path(onnxruntime.__file__).parent / "transformers"))
    try:
        from onnxruntime import quantization
    finally:
        sys.path[:] = known
    return quantization


def _with_own_biases(proto: Any) -> Any:
    """Return the network in which no two products share a bias: equal ones are exported once."""
    constants = _constants(proto)
    taken = set[str]()
    for node in proto.graph.node:
        bias = node.input[2] if node.op_type in WITH_BIAS and len(node.input) > 2 else ""
        if bias in taken:
            own = proto.graph.initializer.add()
            own.CopyFrom(constants[bias])
            own.name = node.input[2] = f"{bias}_of_{len(taken)}_{node.name}"
        if bias in constants:
            taken.add(node.input[2])
    return proto


class _Reader:
    """Hands inputs to ONNX Runtime's calibration, call by call."""

    def __init__(self, proto: Any, calls: Sequence[Sequence[Tensor]]) -> None:
        self._left = iter([_by_name(proto.graph.input, each) for each in calls])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _by_name(ports: Iterable[Any], inputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Map the names of a file's or a session's inputs to values."""
    return {port.name: each.numpy() for port, each in zip(ports, inputs, strict=True)}


def _left_out(proto: Any) -> list[str]:
    """Return the names of additions of a constant, and of products of two activations.

    A GELU may consist of the first, which a runtime fuses; attention consists of the second.
    """
    constants = _constants(proto).keys()
    wanted = {"Add": False, "MatMul": True}  # whether it is one that reads no constant
    return [
        each.name
        for each in proto.graph.node
        if wanted.get(each.op_type) == constants.isdisjoint(each.input)
    ]


def literal(content: bytes, example: Sequence[Tensor]) -> Call:
    """Return a call that executes each operator of the file by itself: products in float32.

    It reads the tensors of `example`, and shows what the file computes, whatever a runtime does.
    """
    import torch

    session = _session(content)

    def call() -> list[Tensor]:
        inputs = _by_name(session.get_inputs(), example)
        return [torch.from_numpy(each) for each in session.run(None, inputs)]

    return call


def _session(content: bytes) -> Any:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def check(of_integers: Any, network: Any, calls: Sequence[Sequence[Tensor]]) -> None:
    """Raise ExportError if a value of the file in integers is not that of the network (ModelProto).

    Weights and biases must be rounded to their grid. Both operators of an activation must have the
    same scale and zero; rounding to that grid must leave of it, in the network's own values, a
    signal / noise of LEAST_RATIO.
    """
    if not _check_weights(of_integers, network):
        raise ExportError("no operator of the network can be quantised")
    for each in _activations(of_integers, network, calls):
        if not _ratio(each) >= LEAST_RATIO:
            raise ExportError(
                WRONG.format(
                    each.name, f"signal / noise is {_ratio(each):.2g}, not {LEAST_RATIO:g}"
                )
            )


class _Power(NamedTuple):
    """The power of a value, and that of its error: sums of squares."""

    name: str
    signal: float
    noise: float


def _ratio(power: _Power) -> float:
    return power.signal / power.noise if power.noise else math.inf


class _Grid(NamedTuple):
    """The scale and the zero of a quantised value; of a weight, those of each channel."""

    scale: np.ndarray
    zero: np.ndarray

    @classmethod
    def of(cls, node: Any, constants: Mapping[str, Any]) -> _Grid:
        """Read it from the inputs of an operator."""
        from onnx import numpy_helper

        scale, *zero = (numpy_helper.to_array(constants[each]) for each in node.input[1:])
        return cls(scale, zero[0] if zero else scale.astype(int) * 0)

    def equals(self, other: _Grid) -> bool:
        """Whether two grids have the same values."""
        import numpy as np

        pairs = ((self.scale, other.scale), (self.zero, other.zero))
        return all(np.array_equal(one, another) for one, another in pairs)


def _check_weights(of_integers: Any, network: Any) -> int:
    """Count the weights and biases in integers. Raises ExportError if one is not rounded right."""
    import numpy as np
    from onnx import numpy_helper

    own, before, count = _constants(of_integers), _constants(network), 0
    for node in of_integers.graph.node:
        if node.op_type != DEQUANTISE or node.input[0] not in own:
            continue
        count += 1
        name = node.input[0].removesuffix(WEIGHT_END)
        if name not in before:
            raise ExportError(WRONG.format(name, "no weight has this name"))
        values = numpy_helper.to_array(own[node.input[0]]).astype(float)
        grid = _Grid.of(node, own)
        shape = [1] * values.ndim
        if grid.scale.size > 1:
            shape[next(each.i for each in node.attribute if each.name == "axis")] = -1
        scale = grid.scale.astype(float).reshape(shape)
        found = (values - grid.zero.astype(float).reshape(shape)) * scale
        wanted = numpy_helper.to_array(before[name]).astype(float)
        if not (np.abs(found - wanted) <= ROUNDING * scale).all():
            raise ExportError(WRONG.format(name, "a weight is not rounded to its grid"))
    return count


def _activations(
    of_integers: Any, network: Any, calls: Sequence[Sequence[Tensor]]
) -> Iterator[_Power]:
    """Yield the error of each quantised activation over some calls of the network."""
    own, made_by = _constants(of_integers), onnx_file.producers(of_integers)
    grids: dict[str, Any] = {}  # the node that quantises, by the name of the value in the network
    for node in of_integers.graph.node:
        before = made_by.get(node.input[0]) if node.op_type == DEQUANTISE else None
        if before is None or before.op_type != QUANTISE:
            continue
        name = before.input[0].removesuffix(INPUT_END)
        if not _Grid.of(before, own).equals(_Grid.of(node, own)):
            raise ExportError(WRONG.format(name, "it is read with another scale or zero"))
        grids[name] = before
    everything = list(grids.items())
    together = max(TOGETHER // len(calls[0][0]), 1)
    for first in range(0, len(everything), together):
        yield from _of_activations(dict(everything[first : first + together]), own, network, calls)


def _of_activations(
    grids: Mapping[str, Any],
    constants: Mapping[str, Any],
    network: Any,
    calls: Sequence[Sequence[Tensor]],
) -> Iterator[_Power]:
    """Yield the error of some activations: the network computes the sums beside its own values."""
    from onnx import ModelProto, TensorProto, helper

    summing = ModelProto()
    summing.CopyFrom(network)
    graph = summing.graph
    del graph.output[:]
    for place, (name, node) in enumerate(grids.items()):
        values = [f"bench_{kind}_{place}" for kind in ("integers", "rounded", "error")]
        grid = [f"bench_{kind}_{place}" for kind in ("scale", "zero")][: len(node.input) - 1]
        for given, copied in zip(node.input[1:], grid, strict=True):
            constant = graph.initializer.add()
            constant.CopyFrom(constants[given])
            constant.name = copied
        integers, rounded, error = values
        graph.node.extend(
            [
                helper.make_node(QUANTISE, [name, *grid], [integers]),
                helper.make_node(DEQUANTISE, [integers, *grid], [rounded]),
                helper.make_node("Sub", [name, rounded], [error]),
            ]
        )
        for value in (name, error):
            power = f"bench_power_{len(graph.output)}"
            graph.node.append(helper.make_node("ReduceSumSquare", [value], [power], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(power, TensorProto.FLOAT, []))
    session = _session(summing.SerializeToString())
    sums = [0.0] * len(graph.output)
    for inputs in calls:
        answers = session.run(None, _by_name(session.get_inputs(), inputs))
        sums = [known + float(each) for known, each in zip(sums, answers, strict=True)]
    for name, signal, noise in zip(grids, sums[::2], sums[1::2], strict=True):
        yield _Power(name, signal, noise)


def _constants(proto: Any) -> dict[str, Any]:
    return {each.name: each for each in proto.graph.initializer}

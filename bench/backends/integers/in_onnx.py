"""ONNX files that compute in 8-bit integers, made by ONNX Runtime's tools.

Each quantised value passes a `QuantizeLinear` and a `DequantizeLinear`; a runtime computes between
them in integers. Source: onnxruntime.ai, "Quantize ONNX models".
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.backends import artifacts, onnx_file, packages
from bench.backends.backend import Calibration
from bench.backends.integers import limits, literal_onnx, onnx_check
from bench.records import Quantised
from bench.storage import lock

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TOOL, OLDEST = "onnxruntime", "1.20"  # the package that quantises
WITH_BIAS = ("Conv", "Gemm")
# What computes in integers, and what passes integers on. Additions are those of two activations.
OPERATORS = [
    *("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool"),
    *("GlobalAveragePool", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
]
X86 = ("x86_64", "AMD64")


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
    files = (__file__, limits.__file__, onnx_check.__file__)
    code = [artifacts.hash_of_file(each) for each in files]
    made_by += [*code, str(weight_bits()), calibration.digest]
    key = artifacts.key_of_converted(of_onnx, made_by)
    return artifacts.stored_or_made(key, lambda: quantised(of_onnx.content, calibration.calls))


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
    onnx_check.check(of_integers, network, limits.checked_calls(calls))
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
    constants = onnx_file.constants(proto)
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
        self._left = iter([literal_onnx.by_name(proto.graph.input, each) for each in calls])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _left_out(proto: Any) -> list[str]:
    """Return the names of additions of a constant, and of products of two activations.

    A GELU may consist of the first, which a runtime fuses; attention consists of the second.
    """
    constants = onnx_file.constants(proto).keys()
    wanted = {"Add": False, "MatMul": True}  # whether it is one that reads no constant
    return [
        each.name
        for each in proto.graph.node
        if wanted.get(each.op_type) == constants.isdisjoint(each.input)
    ]

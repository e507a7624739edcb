"""Compares an ONNX file in 8-bit integers with the file in floating point that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.backends import onnx_file
from bench.backends.integers import limits, literal_onnx
from bench.backends.integers.limits import Power
from bench.backends.program import ExportError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
# Ends of names in the file: of a quantised weight, and of an input of the network
WEIGHT_END, INPUT_END = "_quantized", "_QuantizeLinear_Input"
TOGETHER = 16  # activations of one image: those that are checked together are in memory at once


def check(of_integers: Any, network: Any, calls: Sequence[Sequence[Tensor]]) -> None:
    """Raise ExportError if a value of the file in integers is not that of the network (ModelProto).

    Weights and biases must be rounded to their grid. Both operators of an activation must have the
    same scale and zero; rounding to that grid must leave of it, in the network's own values, a
    signal / noise of LEAST_RATIO.
    """
    if not _check_weights(of_integers, network):
        raise ExportError(limits.NOTHING)
    for each in _activations(of_integers, network, calls):
        each.check()


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

    own, before, count = onnx_file.constants(of_integers), onnx_file.constants(network), 0
    for node in of_integers.graph.node:
        if node.op_type != DEQUANTISE or node.input[0] not in own:
            continue
        count += 1
        name = node.input[0].removesuffix(WEIGHT_END)
        if name not in before:
            raise limits.wrong(name, limits.UNKNOWN)
        values = numpy_helper.to_array(own[node.input[0]]).astype(float)
        grid = _Grid.of(node, own)
        shape = [1] * values.ndim
        if grid.scale.size > 1:
            shape[next(each.i for each in node.attribute if each.name == "axis")] = -1
        scale = grid.scale.astype(float).reshape(shape)
        found = (values - grid.zero.astype(float).reshape(shape)) * scale
        wanted = numpy_helper.to_array(before[name]).astype(float)
        if not (np.abs(found - wanted) <= limits.ROUNDING * scale).all():
            raise limits.wrong(name, limits.NOT_ROUNDED)
    return count


def _activations(
    of_integers: Any, network: Any, calls: Sequence[Sequence[Tensor]]
) -> Iterator[Power]:
    """Yield the error of each quantised activation over some calls of the network."""
    own, made_by = onnx_file.constants(of_integers), onnx_file.producers(of_integers)
    grids: dict[str, Any] = {}  # the node that quantises, by the name of the value in the network
    for node in of_integers.graph.node:
        before = made_by.get(node.input[0]) if node.op_type == DEQUANTISE else None
        if before is None or before.op_type != QUANTISE:
            continue
        name = before.input[0].removesuffix(INPUT_END)
        if not _Grid.of(before, own).equals(_Grid.of(node, own)):
            raise limits.wrong(name, limits.OTHER_GRID)
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
) -> Iterator[Power]:
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
    session = literal_onnx.session(summing.SerializeToString())
    sums = [0.0] * len(graph.output)
    for inputs in calls:
        answers = session.run(None, literal_onnx.by_name(session.get_inputs(), inputs))
        sums = [known + float(each) for known, each in zip(sums, answers, strict=True)]
    for name, signal, noise in zip(grids, sums[::2], sums[1::2], strict=True):
        yield Power(name, signal, noise)

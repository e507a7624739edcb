"""Networks as ONNX files: exported by torch, without paths of this machine, and read again.

Source: the documentation of `torch.onnx` and the ONNX specification (ir.md).
"""

from __future__ import annotations

import ast
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.backends import artifacts, program
from bench.backends.program import ExportError
from bench.records import Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn

DYNAMO, TORCHSCRIPT = "dynamo", "torchscript"
# The packages that export, and the oldest version of each; also in the extras of pyproject.toml
PACKAGES = {"onnx": "1.17", "onnxscript": "0.3"}
# Of each node's metadata, only the name of the module stays, in the name of the node; torch also
# writes the stack of the call, which names files of this machine. The last name is the node's own.
SCOPES = "pkg.torch.onnx.name_scopes"
PASSPORT = "backbone-bench"  # the key of the passport in the file
LARGEST_BYTES = 2**31 - 1  # of one ONNX file; protobuf has no larger messages
FORMULAS = {"Erf": "erf", "BiasGelu": "erf", "Tanh": "tanh", "FastGelu": "tanh"}
CHAIN_OPSET, CHAIN_IR = 17, 8  # old versions, which each runtime reads
OUTPUTS = ["output"]  # the name of the first one


def exported(
    model: nn.Module, example: Sequence[Tensor], precision: str, exporter: str, identity: str
) -> artifacts.Stored:
    """Return the ONNX file of a network, exported now unless the same one is there.

    All runtimes share it. `identity` is that of `Backend.export`.
    """
    made_by = program.made_by(PACKAGES, __file__, exporter, precision)
    key = artifacts.key_of(model, example, identity, made_by)
    return artifacts.stored(key) or artifacts.store(
        key, lambda path: write(model, example, exporter, path)
    )


def write(model: nn.Module, example: Sequence[Tensor], exporter: str, path: Path) -> None:
    """Export the network for inputs of the shapes of `example`.

    `dynamo` exports what `torch.export` captures; `torchscript` traces one call. A trace does not
    contain branches, so a network that has some is refused. The network stays as it is. Raises
    ExportError that names the operator, if one cannot be exported.
    """
    import onnx

    proto = program.exported(EXPORTERS[exporter], model, example)
    for node in _nodes(proto):
        scopes = {each.key: each.value for each in node.metadata_props}.get(SCOPES, "[]")
        del node.metadata_props[:]
        node.doc_string = ""
        if module := (["", "", *ast.literal_eval(scopes)])[-2]:
            node.name = f"{module}/{node.name}"
    _check_size(proto.ByteSize())
    onnx.save_model(proto, str(path))


def _by_dynamo(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    import torch

    exported = torch.onnx.export(
        program.captured(model, inputs), dynamo=True, output_names=OUTPUTS, verbose=False
    )
    assert exported is not None
    return exported.model_proto


def _by_trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    import onnx
    import torch
    from torch.jit import TracerWarning  # type: ignore[attr-defined]

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", TracerWarning)  # a branch that a trace would lose
        torch.onnx.export(model, inputs, buffer, dynamo=False, output_names=OUTPUTS)  # type: ignore[arg-type]
    return onnx.load_model_from_string(buffer.getvalue())


EXPORTERS: dict[str, Callable[[nn.Module, tuple[Tensor, ...]], Any]] = {
    DYNAMO: _by_dynamo,
    TORCHSCRIPT: _by_trace,
}


def _check_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise ExportError(f"an ONNX file has at most 2 GiB; this network needs {size / 2**30:.1f}")


def chain(nodes: int, shape: Sequence[int]) -> bytes:
    """Return an ONNX file of so many pooling operators in a row, which no runtime fuses."""
    from onnx import TensorProto, helper

    window: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    steps = [
        helper.make_node("MaxPool", [f"x{place}"], [f"x{place + 1}"], f"pool{place}", **window)
        for place in range(nodes)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        for name in ("x0", f"x{nodes}")
    ]
    graph = helper.make_graph(steps, "chain", ends[:1], ends[1:])
    versions = [helper.make_opsetid("", CHAIN_OPSET)]
    made = helper.make_model(graph, opset_imports=versions, ir_version=CHAIN_IR)
    return bytes(made.SerializeToString())


def producers(proto: Any) -> dict[str, Any]:
    """Map each value of the main graph to the node that computes it."""
    return {value: node for node in proto.graph.node for value in node.output}


def constants(proto: Any) -> dict[str, Any]:
    """Map the name of each constant of the main graph to its tensor (TensorProto)."""
    return {each.name: each for each in proto.graph.initializer}


def parse(content: bytes) -> Any:
    """Return the ModelProto in an ONNX file."""
    import onnx

    return onnx.load_model_from_string(content)


def opset(proto: Any) -> int:
    """Return the version of ONNX's own operators in the file."""
    return next((each.version for each in proto.opset_import if not each.domain), 0)


def operators(proto: Any) -> Counter[str]:
    """Count the nodes of each operator, as `Conv` or, of another domain, `com.microsoft.Gelu`."""
    return Counter(name_of(node.op_type, node.domain) for node in _nodes(proto))


def name_of(operator: str, domain: str) -> str:
    """Return the name of an operator with its domain; ONNX's own domain is left out."""
    return operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"


def gelus(proto: Any) -> Gelus:
    """Count the nodes that compute a GELU, by its formula.

    ONNX's `Gelu` has the attribute `approximate`. `FastGelu`, `BiasGelu` and another `Gelu` are
    operators of ONNX Runtime. A GELU may also consist of single nodes around `Erf` or `Tanh`.
    """
    return Gelus.of(_formula(node) for node in _nodes(proto))


def _formula(node: Any) -> str:
    if node.op_type == "Gelu":
        is_tanh = any(each.name == "approximate" and each.s == b"tanh" for each in node.attribute)
        return "tanh" if is_tanh else "erf"
    return FORMULAS.get(node.op_type, "")


def _nodes(proto: Any) -> list[Any]:
    """Return the nodes of the graph, of the graphs in its nodes, and of the file's functions."""
    return [node for each in (proto.graph, *proto.functions) for node in _nodes_of(each)]


def _nodes_of(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):  # branches of an `If`, bodies of loops
                yield from _nodes_of(inner)


def with_passport(content: bytes, passport: Mapping[str, object]) -> bytes:
    """Return the file with the passport, as JSON, in its metadata."""
    proto = parse(content)
    entry = proto.metadata_props.add()
    entry.key, entry.value = PASSPORT, msgspec.json.encode(passport).decode()
    _check_size(proto.ByteSize())
    return bytes(proto.SerializeToString())

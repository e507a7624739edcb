"""Networks as ONNX files: exported by torch, without paths of this machine, and read again.

Source: the documentation of `torch.onnx` and the ONNX specification (ir.md).
"""

from __future__ import annotations

import copy
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.records import Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn

DYNAMO, TORCHSCRIPT = "dynamo", "torchscript"
# Of each node's metadata, the names of the modules stay; torch also writes the stack of the call,
# which names files of this machine.
KEPT_METADATA = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")
PASSPORT = "backbone-bench"  # the key of the passport in the file
LARGEST_BYTES = 2**31 - 1  # of one ONNX file; protobuf has no larger messages
MAX_REASON_CHARS = 300
FORMULAS = {"Erf": "erf", "BiasGelu": "erf", "Tanh": "tanh", "FastGelu": "tanh"}
OUTPUTS = ["output"]  # the name of the first one


class ExportError(Exception):
    """The network cannot be exported."""


def write(model: nn.Module, example: Sequence[Tensor], exporter: str, path: Path) -> None:
    """Export the network for inputs of the shapes of `example`.

    `dynamo` exports what `torch.export` captures; `torchscript` traces one call. A trace does not
    contain branches, so a network that has some is refused. The network stays as it is. Raises
    ExportError that names the operator, if one cannot be exported.
    """
    import onnx
    import torch

    with torch.inference_mode(False), torch.no_grad():
        # Tensors of the inference mode cannot be exported; copies made outside of it can.
        plain = copy.deepcopy(model).requires_grad_(False).cpu()
        inputs = tuple(each.detach().to("cpu", copy=True) for each in example)
        try:
            proto = EXPORTERS[exporter](plain, inputs)
        except Exception as error:  # exporters raise errors of many types
            raise ExportError(_reason(error)) from error
    for node in _nodes(proto):
        kept = [each for each in node.metadata_props if each.key in KEPT_METADATA]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    _check_size(proto.ByteSize())
    onnx.save_model(proto, str(path))


def _by_dynamo(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    import torch

    program = torch.export.export(model, inputs)
    exported = torch.onnx.export(program, dynamo=True, output_names=OUTPUTS, verbose=False)
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


def _reason(error: BaseException) -> str:
    """Return the first line of the error that caused the others: it names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:MAX_REASON_CHARS]


def _check_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise ExportError(f"an ONNX file has at most 2 GiB; this network needs {size / 2**30:.1f}")


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
    found = Counter(_formula(node) for node in _nodes(proto))
    return Gelus(found["erf"], found["tanh"])


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

"""Programs of ExecuTorch (.pte), read again. ExecuTorch has no public function that reads one.

XNNPACK executes parts of a program, each from a graph of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from bench.records import Gelus
from bench.storage import lock

PASSPORT = "backbone_bench"  # the method of a program that returns the passport
OWN = "ExecuTorch"  # who has the kernels of nodes that no delegate executes
TYPES = {  # by ExecuTorch's number of a type: torch's name
    **{0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 11: "bool"},
    **{5: "float16", 6: "float32", 7: "float64", 15: "bfloat16"},
}
# ONNX's names of types that differ from those of torch and of XNNPACK
ONNX_TYPES = {
    **{"float32": "float", "float64": "double"},
    **{"fp32": "float", "pfp32": "float", "fp16": "float16", "bf16": "bfloat16"},
    **{"qint8": "int8", "qcint8": "int8", "qint32": "int32", "qcint32": "int32"},
}
OF_INTEGERS = ("qint8", "qcint8")  # XNNPACK's names of the types of inputs and of weights
XNNPACK_TYPE = "xnn_datatype_"
INFINITY = re.compile(rb"(?<=: )([+-]?inf)\b")  # a bound of a clamp, which is no JSON
FORMULAS = {"XNNGelu": "erf", "XNNTanh": "tanh", "aten::erf": "erf", "aten::tanh": "tanh"}


class Node(NamedTuple):
    """A node of a program: its operator, who executes it, and by which formula a GELU.

    `is_of_integers`: it is a product of integers, a convolution or one with a matrix.
    """

    operator: str
    provider: str
    formula: str = ""
    is_of_integers: bool = False


class Plan(NamedTuple):
    """What a program executes, and ONNX's names of the types of its values."""

    nodes: list[Node]
    types: list[str]


def read(content: bytes) -> Plan:
    """Return what the first method of a program executes."""
    program = _parsed(content).program
    plan = program.execution_plan[0]
    nodes: list[Node] = []
    found = {each.val.scalar_type for each in plan.values if hasattr(each.val, "scalar_type")}
    types = {TYPES.get(int(each), each.name.lower()) for each in found}
    for step in (each.instr_args for chain in plan.chains for each in chain.instructions):
        if hasattr(step, "delegate_index"):
            delegate = plan.delegates[step.delegate_index]
            graph = _graph(program.backend_delegate_data[delegate.processed.index].data)
            known = _types_of(graph)
            nodes += [_of_xnnpack(each, delegate.id, known) for each in graph["xnodes"]]
            types |= {*known.values()}
        elif hasattr(step, "op_index"):
            nodes.append(_of_torch(plan, step))
    return Plan(nodes, sorted({ONNX_TYPES.get(each, each) for each in types}))


def gelus(nodes: Sequence[Node]) -> Gelus:
    """Count the GELUs by their formula, and the single calls of erf and tanh."""
    return Gelus.of(each.formula for each in nodes)


def with_passport(content: bytes, passport: Mapping[str, object]) -> bytes:
    """Return the program with one more method, which returns the passport as JSON."""
    from executorch.exir import schema
    from executorch.exir._serialize._program import serialize_pte_binary
    from executorch.extension import pytree

    parsed = _parsed(content)
    text = schema.EValue(schema.String(msgspec.json.encode(passport).decode()))
    empty = schema.Chain(inputs=[], outputs=[], instructions=[], stacktrace=None)
    structure = pytree.tree_flatten("")[1].to_str()
    parsed.program.execution_plan.append(
        schema.ExecutionPlan(
            name=PASSPORT,
            container_meta_type=schema.ContainerMetadata("", structure),
            values=[text],
            inputs=[],
            outputs=[0],
            chains=[empty],
            operators=[],
            delegates=[],
            non_const_buffer_sizes=[0],
        )
    )
    return bytes(serialize_pte_binary(parsed, extract_delegate_segments=True))


def _parsed(content: bytes) -> Any:
    from executorch.exir._serialize._program import deserialize_pte_binary

    return deserialize_pte_binary(content)


def _of_torch(plan: Any, step: Any) -> Node:
    """Return a node that ExecuTorch's own kernel executes."""
    operator = plan.operators[step.op_index].name
    texts = [getattr(plan.values[each].val, "string_val", "") for each in step.args]
    formula = FORMULAS.get(operator, "")
    if operator == "aten::gelu":
        formula = "tanh" if "tanh" in texts else "erf"
    return Node(operator, OWN, formula)


def _of_xnnpack(node: Mapping[str, Any], delegate: str, types: Mapping[int, str]) -> Node:
    operator = node["xnode_union_type"].lstrip("_")
    taken = [node["xnode_union"].get(each) for each in ("input1_id", "filter_id")]
    is_of_integers = all(types.get(each) in OF_INTEGERS for each in taken)
    return Node(operator, delegate, FORMULAS.get(operator, ""), is_of_integers)


def _graph(payload: bytes) -> dict[str, Any]:
    """Return the graph of XNNPACK in what ExecuTorch hands to it."""
    from executorch.backends.xnnpack import serialization
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    first = header.flatbuffer_offset
    with lock.scratch() as scratch:
        schema, graph = scratch / "schema.fbs", scratch / "graph.bin"
        schema.write_bytes(resources.files(serialization).joinpath("schema.fbs").read_bytes())
        graph.write_bytes(payload[first : first + header.flatbuffer_size])
        _flatc_decompile(str(scratch), str(schema), str(graph), ["--raw-binary"])
        text = INFINITY.sub(rb'"\1"', (scratch / "graph.json").read_bytes())
        return msgspec.json.decode(text)


def _types_of(graph: Mapping[str, Any]) -> dict[int, str]:
    """Map the number of each value to the name of its type, without XNNPACK's beginning."""
    tensors = (each["xvalue_union"] for each in graph["xvalues"])
    found = [each.get("tensor_value", each) for each in tensors]
    return {each["id_out"]: each["datatype"].removeprefix(XNNPACK_TYPE) for each in found}

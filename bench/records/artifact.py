"""The file of an exported network, and what a runtime executes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from bench.records.fields import Count, Deviation, Duration, Name


class Gelus(msgspec.Struct, frozen=True):
    """How many GELUs are computed by erf, and how many by its approximation with tanh.

    A call of erf or tanh alone counts, too, since a GELU may consist of several operators.
    """

    erf: Count = 0
    tanh: Count = 0

    @classmethod
    def of(cls, formulas: Iterable[str]) -> Gelus:
        """Count formulas: `erf` and `tanh`; other words do not count."""
        found = Counter(formulas)
        return cls(found["erf"], found["tanh"])


class Artifact(msgspec.Struct, frozen=True):
    """The file of an exported network, and what its runtime says that it executes of it.

    - `file`: its name in the folder of exported networks; `file_hash`: its SHA-256 in hexadecimal
      digits; `file_bytes`: its size.
    - `exporter`: how it was made: `torch.export`, by way of ONNX `dynamo` (of `torch.export`, too)
      or `torchscript` (of a trace). `opset`: the version of ONNX's operators in it, or in the ONNX
      file that it was made of; 0 if it was made of none.
    - `operators`: how many nodes of each operator the runtime executes, after its optimisation.
      `fused`: those of them whose names are not in the file. `providers`: how many nodes each
      provider of the runtime executes. `types`: the types of the floating-point values.
    - `inputs`, `outputs`: type and shape of each, by name, as `float32 1x3x224x224`.
    - `gelus`: by which formula GELUs are computed, or that of the file, where the runtime does not
      say; None where it was not asked.
    - `smooth_error`: the largest relative error on natural-looking images, as in a Check; None
      where the inputs are no images.
    - `optimisation`: the level of the runtime's optimisation of the graph, or the setting that
      matters; "" if it has none.
    - `session_s`: seconds to load the file and to optimise it.

    The fields of what is executed are empty where the runtime was not asked.
    """

    file: Name
    file_hash: Name
    file_bytes: Count
    exporter: Name
    opset: Count = 0
    operators: dict[Name, Count] = {}
    fused: dict[Name, Count] = {}
    providers: dict[Name, Count] = {}
    types: list[Name] = []
    inputs: dict[Name, Name] = {}
    outputs: dict[Name, Name] = {}
    gelus: Gelus | None = None
    smooth_error: Deviation | None = None
    optimisation: Name = ""
    session_s: Duration = 0.0

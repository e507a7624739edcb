"""The file of an exported network, and what a runtime executes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from bench.records.fields import Count, Deviation, Duration, Name, Text


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


class Agreement(msgspec.Struct, frozen=True):
    """How often a quantised network finds the same class as in float32: `same` of `images`.

    `classes`: how many different classes it finds in them in float32.
    """

    same: Count
    images: Count
    classes: Count


class Quantised(msgspec.Struct, frozen=True):
    """How a network was brought to 8-bit integers.

    - `calibration`: on what the ranges of activations were found, in words; `calibration_hash`: a
      hash of it.
    - `weight_bits`: the bits of a weight; activations have 8.
    - `nodes`: how many products of integers the runtime executes: convolutions, matrix products.
    - `error`: the largest relative error of the file, executed operator by operator in float32, as
      in a Check. `added`: that of the runtime against the file.
    - `agreement`: on images of the user; None where there are none.
    """

    calibration: Text
    calibration_hash: Name
    weight_bits: Count
    nodes: Count = 0
    error: Deviation | None = None
    added: Deviation | None = None
    agreement: Agreement | None = None


class Artifact(msgspec.Struct, frozen=True):
    """The file of an exported network, and what its runtime says that it executes of it.

    - `file`: its name in the folder of exported networks; `file_hash`: its SHA-256 in hexadecimal
      digits; `file_bytes`: its size.
    - `exporter`: how it was made: `torch.export`, by way of ONNX `dynamo` (of `torch.export`, too)
      or `torchscript` (of a trace).
    - `onnx`: the ONNX file that it is, or was made of, by its name in the same folder; "" if there
      is none. `opset`: the version of ONNX's operators in that file, else 0.
    - `program`: the program of `torch.export` in integers that it was made of, by its name there;
      "" if there is none.
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
    - `quantised`: how it was brought to integers; None where it is in floating point.

    The fields of what is executed are empty where the runtime was not asked.
    """

    file: Name
    file_hash: Name
    file_bytes: Count
    exporter: Name
    onnx: Name = ""
    opset: Count = 0
    program: Name = ""
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
    quantised: Quantised | None = None

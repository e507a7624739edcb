"""Programs of `torch.export` that compute in 8-bit integers, made by torchao for XNNPACK.

Each quantised value passes an operator that quantises and one that dequantises; XNNPACK computes
between them in integers. Source: docs.pytorch.org/executorch, "XNNPACK Quantization".
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.backends import artifacts, packages, program
from bench.backends.backend import Calibration, Call
from bench.backends.integers import limits
from bench.records import Quantised

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch.export import ExportedProgram

TOOL, OLDEST = "torchao", "0.18"  # the package that quantises
WEIGHT_BITS = 8
SUMS_AND_PRODUCTS = ("aten.add.Tensor", "aten.add_.Tensor", "aten.mul.Tensor", "aten.mul_.Tensor")


def lacking() -> str | None:
    """Return what is missing to quantise, with the remedy; None if nothing."""
    return packages.lacking({TOOL: OLDEST})


def versions() -> dict[str, str]:
    """Return the version of the tool; {} if it is missing."""
    return {TOOL: found} if (found := packages.version(TOOL)) else {}


def code() -> list[str]:
    """Return hashes of the code that decides what is made."""
    from bench.backends.integers import program_check  # it imports torch

    files = (__file__, limits.__file__, program_check.__file__)
    return [artifacts.hash_of_file(each) for each in files]


def described(calibration: Calibration) -> Quantised:
    """Return what a record says of the program, before a runtime has executed it."""
    return Quantised(calibration.about, calibration.digest, WEIGHT_BITS)


def quantised(
    model: nn.Module, inputs: tuple[Tensor, ...], calls: Sequence[Sequence[Tensor]]
) -> bytes:
    """Return the file of a program with weights and activations in 8 bits.

    Weights have a scale by channel, and activations one that fits the values in `calls` (inputs of
    the network). Raises ExportError if a quantised value differs from its own value by too much.
    """
    import torch
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e import quantize_pt2e

    from bench.backends.integers import program_check

    rules = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = xnnpack_quantizer.XNNPACKQuantizer().set_global(rules)
    quantizer.set_filter_function(_takes_no_constant)
    # Those with a BatchNorm are for training, and take long: BatchNorms are folded before.
    known = quantizer.SUPPORTED_PATTERNS
    quantizer.SUPPORTED_PATTERNS = [each for each in known if "bn" not in each.name]
    captured = program.captured(model, inputs).module(check_guards=False)
    observed = quantize_pt2e.prepare_pt2e(captured, quantizer)
    plain = [[each.clone() for each in call] for call in calls]  # no tensors of the inference mode
    for call in plain:
        observed(*call)
    network = copy.deepcopy(observed)
    of_integers = quantize_pt2e.convert_pt2e(observed)
    program_check.check(of_integers, network, limits.checked_calls(plain))
    file = io.BytesIO()
    without_floats = torch.fx.GraphModule(of_integers, of_integers.graph)
    torch.export.save(program.captured(without_floats, inputs), file)
    return file.getvalue()


def _takes_no_constant(node: fx.Node) -> bool:
    """Whether a node may be quantised: a sum or product that takes a constant may not.

    A scale or a small number that is added would have few of 8 bits left beside other values.
    """
    if str(node.target) not in SUMS_AND_PRODUCTS:
        return True
    constants: set[fx.Node] = set()
    for each in node.graph.nodes:
        is_computed = each.op == "call_function" and constants.issuperset(each.all_input_nodes)
        if each.op == "get_attr" or is_computed:
            constants.add(each)
    return constants.isdisjoint(node.all_input_nodes)


def load(content: bytes) -> ExportedProgram:
    """Return the program in a file."""
    import torch
    import torch.ao.quantization.fx._decomposed  # the operators of the program

    return torch.export.load(io.BytesIO(content))


def literal(content: bytes, example: Sequence[Tensor]) -> Call:
    """Return a call that executes each operator of the program by itself: products in float32.

    It reads the tensors of `example`, and shows what the program computes, whatever a runtime does.
    """
    with program.exporting():
        network = load(content).module(check_guards=False)
    return lambda: network(*example)

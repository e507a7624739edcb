"""What numbers a network computes in: one helper for every switch, and what a check tolerates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

TF32_CAPABILITY = (8, 0)  # of NVIDIA chips that have TF32 units: Ampere and later


class Precision(NamedTuple):
    """`dtype` is the name of torch's type of weights, input and activations.

    A check lets pass what differs from the reference (the first form, eager, fp32, on the CPU) by
    `tolerance` at most, relative to the most that two images differ by. Where `of_bfloat16` is
    known, rounding errors are that share of those of bfloat16, and SAFETY times what these are on
    the CPU for the very network is what is tolerated: from `least` to `tolerance`.
    """

    dtype: str
    tolerance: float
    about: str
    of_bfloat16: float | None = None
    least: float = 0.0


SAFETY = 4.0

# Seen of the paper's networks on a CPU: bf16 0.01 (ConvNeXt-T) to 0.54 (EfficientNet-B5), fp16 an
# eighth of it; an input of zeros differs by 1 or more. TF32 has the mantissa of fp16, so fp32 that
# secretly is TF32 does not pass for fp32. What a form must not do wrong was found out in fp32.
PRECISIONS = {
    "fp32": Precision("float32", 5e-4, "IEEE fp32: TF32 off in matrix products and cuDNN"),
    "tf32": Precision(
        "float32", 0.1, "fp32 weights, TF32 products; NVIDIA Ampere and later", 1 / 8, 0.01
    ),
    "fp16": Precision("float16", 0.1, "weights, input and activations in float16", 1 / 8, 0.01),
    "bf16": Precision("bfloat16", 0.7, "weights, input and activations in bfloat16", 1.0, 0.05),
}


def dtype(name: str) -> torch.dtype:
    """The type of weights and input in the precision `name`."""
    import torch

    found = getattr(torch, PRECISIONS[name].dtype)
    assert isinstance(found, torch.dtype)
    return found


def set_switches(name: str) -> None:
    """Make this process compute fp32 as `name` says; cuDNN takes the algorithms of its heuristics.

    Only PyTorch's older switches are used: reading one of these after a newer one was set, as
    torch.compile does, raises. Benchmark mode of cuDNN is off, PyTorch's default, since it picks
    algorithms by timing them, and then each process may time other kernels.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    torch.backends.cudnn.benchmark = False


def switches() -> dict[str, str | int | float | bool | None]:
    """The switches as they really stand in this process."""
    import torch

    return {
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def tolerance(name: str, error_in_bfloat16: float | None) -> float:
    """What a check in the precision `name` tolerates of a network with that error in bfloat16.

    None or nan is not known, and then the most is tolerated.
    """
    rule = PRECISIONS[name]
    if rule.of_bfloat16 is None or error_in_bfloat16 is None or math.isnan(error_in_bfloat16):
        return rule.tolerance
    return min(max(SAFETY * rule.of_bfloat16 * error_in_bfloat16, rule.least), rule.tolerance)


def missing_on_nvidia(name: str, capability: str) -> str | None:
    """Why an NVIDIA chip cannot compute in the precision `name`; None where it can.

    `capability` is CUDA's compute capability, such as `8.7`, empty where it is not known.
    """
    known = tuple(int(part) for part in capability.split(".") if part.isdigit())
    if name == "tf32" and known and known < TF32_CAPABILITY:
        return f"TF32 needs compute capability 8.0, this chip has {capability}"
    return None

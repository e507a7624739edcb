"""What numbers a network computes in: one helper for every switch, and what a check tolerates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

TF32_CAPABILITY = (8, 0)  # of NVIDIA chips that have TF32 units: Ampere and later


class Precision(NamedTuple):
    """`dtype` is the name of torch's type of weights, input and activations.

    `tolerance` is the largest difference to the reference (the first form, eager, fp32, on the
    CPU) that a check lets pass, relative to the largest value of the reference.
    """

    dtype: str
    tolerance: float
    about: str


# Seen of the paper's networks with random weights on a CPU: fp16 up to 9e-3 (MobileNetV3-L), bf16
# up to 8e-2 (MaxViT-T), RepNeXt 5e-4 and 4e-3; what a form must not do wrong was found out in fp32
# before. TF32 has the mantissa of fp16, so fp32 that secretly is TF32 does not pass for fp32.
PRECISIONS = {
    "fp32": Precision("float32", 1e-4, "IEEE fp32: TF32 off in matrix products and cuDNN"),
    "tf32": Precision("float32", 3e-2, "fp32 weights, TF32 products; NVIDIA Ampere and later"),
    "fp16": Precision("float16", 3e-2, "weights, input and activations in float16"),
    "bf16": Precision("bfloat16", 2e-1, "weights, input and activations in bfloat16"),
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


def missing(name: str, device: str, capability: str) -> str | None:
    """Why a chip cannot compute in the precision `name`; None where it can.

    `capability` is CUDA's, such as `8.7`, empty where it is not known.
    """
    if name != "tf32" or device == "fake":
        return None
    if device == "cpu":
        return "TF32 is a mode of NVIDIA GPUs"
    known = tuple(int(part) for part in capability.split(".") if part.isdigit())
    if known and known < TF32_CAPABILITY:
        return f"TF32 needs compute capability 8.0, this chip has {capability}"
    return None

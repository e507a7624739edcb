"""Precisions: the type and switches of each, and the tolerance of the check of the output."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bench.text import version_numbers

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
TF32_CAPABILITY = (8, 0)  # NVIDIA GPUs from this compute capability on (Ampere) have TF32 units


class Precision(NamedTuple):
    """A precision. `dtype` is the name of torch's type of weights, input and activations.

    - `calibrated`: the file of a runtime computes in integers, whose ranges were found on images.

    A check compares the output with a reference: the first form of the network, eager, fp32, on
    the CPU. The error is relative to the largest difference between the outputs of two images. It
    must not exceed

        clip(SAFETY * of_bfloat16 * e, least, tolerance)

    where e is the error of the same network in bfloat16 on the CPU. `of_bfloat16` is the ratio
    of rounding errors, this precision / bfloat16. If it or e is unknown, the limit is `tolerance`.
    Of a precision that is `calibrated`, the limit is `tolerance`: there, the runtime is also
    compared with what its file computes (`integers_check`).
    """

    dtype: str
    tolerance: float
    about: str
    of_bfloat16: float | None = None
    least: float = 0.0
    calibrated: bool = False


SAFETY = 4.0

KNOWN_AS = {  # names that other tools use
    **dict.fromkeys(["uint8", "w8a8", "quantized", "quantised"], "That is `int8`."),
    **dict.fromkeys(["int4", "fp8"], "The only quantised precision is `int8`."),
    **dict.fromkeys(["half", "float16"], "That is `fp16`."),
    **dict.fromkeys(["float32", "float", "single"], "That is `fp32`."),
    **dict.fromkeys(["bfloat16"], "That is `bf16`."),
    **dict.fromkeys(["amp", "mixed", "autocast"], "Weights and images are cast: `fp16` or `bf16`."),
}

# Measured errors of the paper's networks on a CPU: bf16 from 0.01 (ConvNeXt-T) to 0.54
# (EfficientNet-B5), and fp16 an eighth of bf16. An input of zeros has an error of 1 or more. TF32
# has the mantissa of fp16, so the check of fp32 fails if TF32 is on. That check also detects errors
# in a form.
PRECISIONS = {
    "fp32": Precision("float32", 5e-4, "IEEE fp32: TF32 off in matrix products and cuDNN"),
    "tf32": Precision(
        "float32", 0.1, "fp32 weights, TF32 products; NVIDIA Ampere and later", 1 / 8, 0.01
    ),
    "fp16": Precision("float16", 0.1, "weights, input and activations in float16", 1 / 8, 0.01),
    "bf16": Precision("bfloat16", 0.7, "weights, input and activations in bfloat16", 1.0, 0.05),
    "int8": Precision(
        "float32",
        0.9,
        "8-bit weights (by channel) and activations in a runtime; input in float32",
        least=0.05,
        calibrated=True,
    ),
}


def dtype(name: str) -> torch.dtype:
    """Return torch's type of weights and input in the precision `name`."""
    import torch

    found = getattr(torch, PRECISIONS[name].dtype)
    assert isinstance(found, torch.dtype)
    return found


def is_reduced(name: str) -> bool:
    """Whether products or values in the precision `name` have fewer bits than float32."""
    return PRECISIONS[name].of_bfloat16 is not None or is_quantised(name)


def is_quantised(name: str) -> bool:
    """Whether networks compute in integers, whose ranges were found on images."""
    return name in PRECISIONS and PRECISIONS[name].calibrated


def set_switches(name: str) -> None:
    """Switch TF32 on for `tf32` and off for all other precisions; switch cuDNN's benchmark off.

    Only PyTorch's older switches are used: torch.compile reads them, and reading an older switch
    after a newer one was set raises an exception. Benchmark mode (off by default in PyTorch)
    chooses algorithms by their time, so processes might run different kernels.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    torch.backends.cudnn.benchmark = False


def wanted_switches(name: str) -> dict[str, str | int | float | bool | None]:
    """Return what `switches` returns after `set_switches`."""
    return {
        "matmul_tf32": name == "tf32",
        "cudnn_tf32": name == "tf32",
        "cudnn_benchmark": False,
        "float32_matmul_precision": "high" if name == "tf32" else "highest",
    }


def switches() -> dict[str, str | int | float | bool | None]:
    """Return the current values of the switches in this process.

    A value is None where the network's code used newer switches, so that torch refuses to read it.
    """
    import torch

    return {
        "matmul_tf32": readable(lambda: torch.backends.cuda.matmul.allow_tf32),
        "cudnn_tf32": readable(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn_benchmark": readable(lambda: torch.backends.cudnn.benchmark),
        "float32_matmul_precision": readable(torch.get_float32_matmul_precision),
    }


def readable(switch: Callable[[], T]) -> T | None:
    """Return the value of a switch; None where torch refuses to read it.

    A round that is timed already would be lost with the error.
    """
    try:
        return switch()
    except RuntimeError:
        return None


def modes() -> tuple[str | bool | None, ...]:
    """Return every switch for TF32, older and newer, in the order that `set_modes` takes."""
    import torch

    newer = map(_newer_mode, _owners_of_modes())
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return (
        readable(torch.get_float32_matmul_precision),
        readable(lambda: matmul.allow_tf32),
        readable(lambda: cudnn.allow_tf32),
        *newer,
    )


def _newer_mode(owner: Any) -> str | None:
    return readable(lambda: getattr(owner, "fp32_precision", None))


def set_modes(wanted: Sequence[Any]) -> None:
    """Set every switch for TF32 to the values of `modes`.

    The newer switches come first: torch raises an exception where an older one contradicts them.
    They come last, too, since setting an older one changes some of them.
    """
    import torch

    _set_newer(wanted[3:])
    if wanted[0] is not None:
        torch.set_float32_matmul_precision(wanted[0])
    torch.backends.cuda.matmul.allow_tf32 = bool(wanted[1])
    torch.backends.cudnn.allow_tf32 = bool(wanted[2])
    _set_newer(wanted[3:])


def _set_newer(wanted: Sequence[str | None]) -> None:
    for owner, value in zip(_owners_of_modes(), wanted, strict=True):
        if value is not None and _newer_mode(owner) != value:
            owner.fp32_precision = value


def _owners_of_modes() -> list[Any]:
    """Return the modules of torch that have a newer switch, the most general ones first."""
    from torch import backends

    return [
        backends,
        backends.cudnn,
        backends.mkldnn,
        backends.cuda.matmul,
        getattr(backends.cudnn, "conv", None),
        getattr(backends.mkldnn, "matmul", None),
        getattr(backends.mkldnn, "conv", None),
    ]


def tolerance(name: str, error: float | None) -> float:
    """Return the tolerance of a check in the precision `name`: the formula of `Precision`.

    `error` is its e; None and NaN mean that it is unknown.
    """
    rule = PRECISIONS[name]
    if rule.of_bfloat16 is None or error is None or math.isnan(error):
        return rule.tolerance
    return min(max(SAFETY * rule.of_bfloat16 * error, rule.least), rule.tolerance)


def repeatability(name: str) -> float:
    """Return the tolerated relative change between two calls of one network on the same input.

    Kernels of a GPU may add up in another order at each call, which costs some rounding errors.
    """
    rule = PRECISIONS[name]
    return rule.least or rule.tolerance


def missing_on_nvidia(name: str, capability: str) -> str | None:
    """Return why an NVIDIA GPU of this `capability` cannot compute in the precision `name`.

    Returns None if the GPU can. `capability` is the CUDA compute capability, such as `8.7`; "" if
    it is unknown.
    """
    known = version_numbers(capability)
    if known and known < TF32_CAPABILITY:
        reason = f"TF32 needs compute capability 8.0, this chip has {capability}"
        return reason if name == "tf32" else None
    return _forced(name)


def _forced(name: str) -> str | None:
    """Return the reason if NVIDIA_TF32_OVERRIDE contradicts the precision, or its checks.

    NVIDIA's libraries obey this variable, not torch. TF32 switched on contradicts each precision:
    the operators of the GPU and each backend are checked in fp32.
    """
    forced = os.environ.get(TF32_OVERRIDE, "")
    if not forced or (forced == "0" and name != "tf32"):
        return None
    mode = "off" if forced == "0" else "on, in all checks too"
    return f"{TF32_OVERRIDE}={forced} switches TF32 {mode}: run `unset {TF32_OVERRIDE}`"

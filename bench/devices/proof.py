"""Check that torch computes correctly on the GPU. `torch.cuda.is_available()` is not enough.

It is also True for a build of torch without kernels for the chip. The check runs in a separate
process, because a process that has started CUDA must not fork. The process exits with 0, or prints
the reason in the last line of stderr.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.devices.precision import TF32_OVERRIDE, set_switches
from bench.errors import UnavailableError, starting
from bench.process import command_for_module

if TYPE_CHECKING:
    from torch import Tensor

DEADLINE_S = 180.0
TOLERANCE = 1e-4  # the error with TF32, which must be off here, is 3e-4 or more
REMEDY = """\
Install a torch built for this chip and driver (`python -m torch.utils.collect_env` shows both);
on a Jetson, install the torch of its JetPack (see docs/orin.md). Or use --device cpu."""


def prove(chip_name: str) -> None:
    """Raise UnavailableError unless each kind of operator has the same result on GPU and CPU.

    The process has no NVIDIA_TF32_OVERRIDE: it would make a sound torch look wrong.
    """
    command = command_for_module(__name__)
    variables = {name: value for name, value in os.environ.items() if name != TF32_OVERRIDE}
    try:
        with starting("a process that tries torch"):
            done = subprocess.run(
                command,
                env=variables,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        what = f"no answer within {DEADLINE_S:.0f} s"
    else:
        if not done.returncode:
            return
        what = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    raise UnavailableError(f"torch cannot compute on {chip_name}: {what}", REMEDY)


def operators() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return one operator of each kind that networks use: functions of images and a kernel.

    A build of torch may lack the kernels of some kinds only. The images have shape (1, 8, 16, 16),
    and the kernel has shape (8, 8, 3, 3).
    """
    from torch.nn import functional

    return {
        "convolution": functional.conv2d,
        "matrix product": lambda images, kernel: images.flatten(2) @ images.flatten(2).mT,
        "activation": lambda images, kernel: functional.gelu(images) + images,
        "comparison": lambda images, kernel: (images != images.abs()).to(images.dtype),
        "reduction": lambda images, kernel: images.square().mean((2, 3)),
        "softmax": lambda images, kernel: images.softmax(1),
        "batch norm": lambda images, kernel: functional.batch_norm(
            images, kernel.sum((1, 2, 3)), kernel.square().sum((1, 2, 3))
        ),
    }


def error_of(operator: Callable[[Tensor, Tensor], Tensor], torch_device: str) -> float:
    """Return the error of an operator on the device: max|y - ref| / max|ref|.

    The reference is computed in float64 on the CPU.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 8, 16, 16, generator=generator)
    kernel = torch.randn(8, 8, 3, 3, generator=generator)
    expected = operator(images.double(), kernel.double())
    found = operator(images.to(torch_device), kernel.to(torch_device)).cpu().double()
    return float((found - expected).abs().max() / expected.abs().max())


def main(torch_device: str = "cuda") -> None:
    """Run each operator; exit with a message about the first that fails or is wrong."""
    name = "start"
    try:
        set_switches("fp32")
        for name, operator in operators().items():
            error = error_of(operator, torch_device)
            if not error <= TOLERANCE:
                sys.exit(f"{name}: wrong by {error:.2g} of its largest output")
    except Exception as raised:  # a build without kernels for the chip raises many types
        first_line = str(raised).partition("\n")[0]
        sys.exit(f"{name}: {type(raised).__name__}: {first_line}")


if __name__ == "__main__":
    main()

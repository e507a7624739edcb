"""Check that torch computes correctly on the GPU. `torch.cuda.is_available()` is not enough.

It is also True for a build of torch without kernels for the chip. The check runs in a separate
process, because a process that has started CUDA must not fork. The process exits with 0, or prints
the reason in the last line of stderr.
"""

from __future__ import annotations

import subprocess
import sys

from bench.devices.precision import set_switches
from bench.errors import UnavailableError
from bench.process import command_for_module

DEADLINE_S = 180.0
TOLERANCE = 1e-4  # the error with TF32, which must be off here, is 3e-4 or more
REMEDY = """\
Install a torch built for this chip and driver (`python -m torch.utils.collect_env` shows both);
on a Jetson, install the torch of its JetPack (see the README). Or use --device cpu."""


def prove(chip_name: str) -> None:
    """Raise UnavailableError unless a convolution has the same result on GPU and CPU."""
    command = command_for_module(__name__)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"no answer within {DEADLINE_S:.0f} s"
    else:
        if not done.returncode:
            return
        what = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    raise UnavailableError(f"torch cannot compute on {chip_name}: {what}", REMEDY)


def convolve(torch_device: str) -> float:
    """Return the error of a small convolution on the device: max|y - ref| / max|ref|.

    The reference is computed in float64 on the CPU.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 8, 16, 16, generator=generator)
    weight = torch.randn(8, 8, 3, 3, generator=generator)
    expected = torch.conv2d(images.double(), weight.double())
    found = torch.conv2d(images.to(torch_device), weight.to(torch_device)).cpu().double()
    return float((found - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Run the check; exit with a message if it fails."""
    try:
        set_switches("fp32")
        error = convolve("cuda")
    except Exception as raised:  # a build without kernels for the chip raises many types
        first_line = str(raised).partition("\n")[0]
        sys.exit(f"{type(raised).__name__}: {first_line}")
    if not error <= TOLERANCE:
        sys.exit(f"a convolution is wrong by {error:.2g} of its largest output")


if __name__ == "__main__":
    main()

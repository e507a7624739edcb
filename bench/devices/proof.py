"""That torch computes on a GPU here: a build without kernels for the chip says it is available.

A process of its own, since whoever starts CUDA may not fork afterwards: it exits with 0, or says in
the last line of stderr what is wrong.
"""

from __future__ import annotations

import subprocess
import sys

from bench.devices.precision import set_switches
from bench.errors import UnavailableError
from bench.process import command_for_module

DEADLINE_S = 180.0
TOLERANCE = 1e-4  # TF32, which would be wrong here, is 3e-4 or more
REMEDY = """\
Install a torch built for this chip and driver (`python -m torch.utils.collect_env` shows both);
on a Jetson that of its JetPack, as the README says. Or measure on: --device cpu"""


def prove(chip_name: str) -> None:
    """Raise UnavailableError unless a convolution on the GPU gives what it gives on the CPU."""
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
    """The error of a small convolution on the device, relative to its largest output."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 8, 16, 16, generator=generator)
    weight = torch.randn(8, 8, 3, 3, generator=generator)
    expected = torch.conv2d(images.double(), weight.double())
    found = torch.conv2d(images.to(torch_device), weight.to(torch_device)).cpu().double()
    return float((found - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Compute, compare, and end with what is wrong, if anything is."""
    try:
        set_switches("fp32")
        error = convolve("cuda")
    except Exception as raised:  # whatever a build without the right kernels raises
        first_line = str(raised).partition("\n")[0]
        sys.exit(f"{type(raised).__name__}: {first_line}")
    if not error <= TOLERANCE:
        sys.exit(f"a convolution is wrong by {error:.2g} of its largest output")


if __name__ == "__main__":
    main()

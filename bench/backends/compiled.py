"""torch.compile with Inductor. `--backend compile`."""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backends.backend import Backend, Call
from bench.devices.installation import how_to_install

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_CALLS = 2  # the first call compiles; the second may compile again


def compiler() -> str:
    """Return the command of the C++ compiler that Inductor calls."""
    return os.environ.get("CXX") or "g++"


class Compiled(Backend):
    """torch.compile with Inductor: C++ on a CPU, Triton on a GPU. `--backend compile`."""

    trains = True
    first_s = 15.0

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Compile for this shape only. Raises an exception of torch if a graph break is needed."""
        network = self.network(model, example)
        for _ in range(WARM_CALLS):
            network(*example)
        self.loaded()
        return lambda: network(*example)

    def network(self, model: nn.Module, example: Sequence[Tensor]) -> Callable[..., object]:
        """Return the network that its first calls compile, with a backward pass if it trains."""
        import torch

        compiled: Callable[..., object] = torch.compile(model, dynamic=False, fullgraph=True)
        return compiled

    def loaded(self) -> None:
        """End the workers of the compiler: idle ones would disturb timed blocks."""
        from torch._inductor.async_compile import shutdown_compile_workers

        shutdown_compile_workers()

    def preload(self) -> None:
        """Import the compiler, so that its memory does not count as memory of the network."""
        import torch._inductor.compile_fx  # noqa: F401

    def name_kernels(self) -> None:
        """Make C++ kernels that are compiled later report their names to a profiler."""
        from torch._inductor import config

        config.cpp.enable_kernel_profile = True

    def missing(self, torch_device: str) -> str | None:
        """Check for a C++ compiler and Python.h, and on a GPU also for Triton."""
        if shutil.which(shlex.split(compiler())[0]) is None:
            return f"no C++ compiler ({compiler()}): sudo apt install g++, or set CXX"
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            return "no Python.h: sudo apt install python3-dev"
        if torch_device == "cuda" and util.find_spec("triton") is None:
            return f"no Triton: {how_to_install('triton')}"
        return None

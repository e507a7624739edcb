"""AOTInductor: Inductor compiles the network ahead of time into a library. `--backend aotinductor`.

Source: the documentation of PyTorch, "AOTInductor: Ahead-Of-Time Compilation for torch.export-ed
Models", and of the setting `freezing` of Inductor.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.backends import artifacts, pt2_file
from bench.backends.backend import FP32
from bench.backends.compiled import Compiled, compiler
from bench.backends.of_program import OfProgram, ProgramEngine
from bench.backends.runtime import Engine, check_bindable, dtype_of
from bench.devices import clocks
from bench.devices.variables import deciding_variables
from bench.errors import starting
from bench.records import Artifact, Gelus
from bench.storage import lock

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

FREEZING = "freezing"
SETTINGS = {
    FREEZING: True,  # weights are constants: BatchNorm is folded into them ahead of time
    "cpp.use_decompose_tanh": False,  # which would compute a tanh by exp
    "aot_inductor.precompile_headers": False,  # which saves time from the second network on
}
OF_COMPILER = ("AOT_INDUCTOR_", "TORCHINDUCTOR_", "ATEN_CPU_CAPABILITY", "ONEDNN_", "DNNL_")
OF_PROCESSOR = ("model name", "flags", "CPU part", "Features")  # lines of /proc/cpuinfo


class AotInductor(OfProgram):
    """AOTInductor: a library that Inductor compiles ahead of time from what torch.export captures.

    It computes in the threads of torch.
    """

    file_kind = "pt2"
    file_ends = (".pt2",)
    keeps_threads = False
    first_s = 40.0
    on_cpu = "aotinductor"
    oldest: ClassVar[Mapping[str, str]] = {"torch": "2.14"}  # an older one writes another package

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Load the library of a package."""
        return Library(content, example, precision)

    def compiled(self, captured: ExportedProgram) -> bytes:
        """Compile a package for this processor; the other files of Inductor are removed."""
        import torch
        from torch._inductor.async_compile import shutdown_compile_workers
        from torch._inductor.utils import fresh_cache

        with lock.scratch() as scratch, fresh_cache(dir=str(scratch)):
            path = scratch / "net.pt2"
            try:
                torch._inductor.aoti_compile_and_package(
                    captured, package_path=str(path), inductor_configs=dict(SETTINGS)
                )
            finally:
                shutdown_compile_workers()
            return path.read_bytes()

    def compiles_for(self) -> list[str]:
        """Return the compiler, the threads, the processor, and what the shell decides."""
        import torch

        known = deciding_variables().items()
        variables = [f"{name}={value}" for name, value in known if name.startswith(OF_COMPILER)]
        threads = str(torch.get_num_threads())
        return [*self.versions().values(), threads, _processor(), *variables]

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return the package with the passport among its extra files."""
        return [pt2_file.with_passport(content, passport)]

    def preload(self) -> None:
        """Import the package that loads libraries."""
        import torch._inductor.package  # noqa: F401

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return what the C++ compiler says of itself; torch is part of the environment."""
        return {"compiler": found} if (found := _described(compiler())) else {}

    def missing(self, torch_device: str) -> str | None:
        """Check for torch, and for what Inductor needs to compile."""
        return super().missing(torch_device) or Compiled().missing(torch_device)


class Library(ProgramEngine):
    """A library that AOTInductor has compiled, called with the tensors of the example."""

    def __init__(self, content: bytes, example: Sequence[Tensor], precision: str) -> None:
        import torch

        super().__init__(example, precision)
        for place, each in enumerate(example):  # the library does not look at their memory order
            check_bindable(f"input{place}", each, dtype_of(each))
        with lock.scratch() as scratch, _unpacking_in(scratch):
            path = scratch / "net.pt2"
            path.write_bytes(content)
            began = clocks.monotonic()
            self._loader: Any = torch._inductor.aoti_load_package(str(path)).loader
            self.load_s = clocks.monotonic() - began

    def __call__(self) -> list[Tensor]:
        """Execute the network; return new output tensors."""
        return list(self._loader.run(list(self._example)))

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with the kernels that the generated code calls, and their types.

        Raises WrongEngineError where a value has fewer bits than asked, or where a GELU has a
        formula that no GELU of the network has.
        """
        code = pt2_file.read(artifacts.content_of(artifact))
        found = pt2_file.gelus(code)
        owners = {"ATen": len(code.of_torch()), "Inductor": len(code.generated())}
        made = self.recorded(
            artifact,
            pt2_file.types(code),
            operators=dict(pt2_file.operators(code).most_common()),
            providers={name: count for name, count in owners.items() if count},
            gelus=found,
            optimisation=FREEZING,
        )
        self.check_gelus([Gelus(min(found.erf, 1), min(found.tanh, 1))], gelus)
        return made


@contextlib.contextmanager
def _unpacking_in(folder: Path) -> Iterator[None]:
    """Let torch unpack a package into a folder. A library that is loaded does not need its file.

    Torch would remove it at the end of the process, which a child of a measurement skips.
    """
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


@functools.cache
def _described(command: str) -> str:
    """Return the first line of what a compiler says of itself; "" if it says nothing."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = [*shlex.split(command), "--version"]
        with starting("the C++ compiler"):
            done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.partition("\n")[0].strip()
    return ""


def _processor() -> str:
    """Return a hash of what decides for which instructions a library is compiled."""
    lines: set[str] = set()
    with contextlib.suppress(OSError):
        known = Path("/proc/cpuinfo").read_text().splitlines()
        lines = {line for line in known if line.startswith(OF_PROCESSOR)}
    return artifacts.hash_of("\n".join(sorted(lines)).encode())
